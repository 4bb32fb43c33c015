#include "store/postgres/session_keeper.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/postgres/session_liveness.hpp"
#include "store/postgres/session_parts.hpp"
#include "store/postgres/stream_locks.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

/// How long a new session waits for one of its own locks, which the lost one may still have.
constexpr milliseconds lock_timeout_of_keeper{3000};

/// For a server that hangs although its host answers, while locks wait to be taken again. Longer
/// than a session waits for one of its own locks.
constexpr milliseconds most_for_an_answer{5000};

/// The server itself ends a wait for a lock after the busy timeout. If no answer has come so much
/// later, the server is out of reach or hangs.
constexpr milliseconds slack_of_answers{2000};
constexpr milliseconds longest_wait = std::chrono::years{1};

/// To connect: at first, and at least. A server whose queue of connections is full answers late,
/// and each attempt that gives up has waited in vain, and left the server the work. Of several
/// hosts, one that is out of reach must not take the time of the others.
constexpr seconds first_connect_timeout{15};
constexpr seconds first_timeout_of_several{5};
constexpr seconds least_connect_timeout{2};
constexpr int most_doublings = 5;

milliseconds left_until(SessionKeeper::Moment until) {
  return std::clamp(std::chrono::ceil<milliseconds>(until - steady_clock::now()), {}, longest_wait);
}

}  // namespace

SessionKeeper::SessionKeeper(Target target) : target_(std::move(target)) {
  system::ForkGate::instance().enroll(*this);
}

SessionKeeper::~SessionKeeper() {
  if (loop_) {
    loop_->io.stop();
    loop_->thread.join();
  }
  // Not in a child whose fork did not wait: the parent still uses the connection.
  if (!system::ForkGate::instance().closed_to_this_process()) {
    const system::ForkGate::Pass pass;
    connection_.reset();
  }
  system::ForkGate::instance().withdraw(*this);
}

bool SessionKeeper::close_idle() {
  constexpr milliseconds for_the_watcher{1000};
  try {
    const Loan loan(*this, steady_clock::now() + for_the_watcher);
    const system::ForkGate::Pass pass;
    if (is_needed_now()) return false;
    drop();
    return true;
  } catch (const Busy&) {
    return false;  // another thread uses it
  } catch (const StorageFailure&) {
    return false;  // it was lost, and is needed: it could not be opened again yet
  }
}

// ---- The loan

SessionKeeper::Loan::Loan(SessionKeeper& keeper, Moment until) : keeper_(keeper) {
  const Moment began = steady_clock::now();
  std::unique_lock lock(keeper_.mutex_);
  const std::uint64_t ticket = keeper_.next_ticket_++;
  keeper_.waiting_.push_back(ticket);
  is_mine_ =
      keeper_.freed_.wait_until(lock, until, [&] { return keeper_.waiting_.front() == ticket; });
  if (is_mine_) {
    begin();
    return;
  }
  std::erase(keeper_.waiting_, ticket);
  if (keeper_.lost_since_ != 0) {
    throw_unusable(keeper_.target_, "the session was lost, and no other could be opened yet");
  }
  throw Busy(fmt::format(
      "other threads of this process kept the connection to {} busy for {} s; raise the busy "
      "timeout, or use fewer threads",
      text::redacted_url(keeper_.target_.url),
      std::chrono::duration<double>(std::chrono::round<milliseconds>(until - began)).count()));
}

SessionKeeper::Loan::Loan(SessionKeeper& keeper, std::try_to_lock_t)
    : keeper_(keeper), is_watcher_(true) {
  const std::lock_guard lock(keeper_.mutex_);
  is_mine_ = keeper_.waiting_.empty();
  if (!is_mine_) return;
  keeper_.waiting_.push_back(keeper_.next_ticket_++);
  begin();
}

void SessionKeeper::Loan::begin() {
  if (keeper_.connection_) keeper_.connection_->wake();
}

SessionKeeper::Loan::~Loan() {
  if (!is_mine_) return;
  {
    const std::lock_guard lock(keeper_.mutex_);
    // Empty in a forked child.
    if (!keeper_.waiting_.empty()) keeper_.waiting_.pop_front();
    if (!is_watcher_) {
      keeper_.last_used_ = steady_clock::now();
      Loop* const loop = keeper_.loop_.get();
      const bool must_look =
          !keeper_.connection_
              ? keeper_.is_needed()
              : keeper_.is_untidy() || (!keeper_.wakeups_.empty() && loop && !loop->is_watching);
      if (must_look && loop != nullptr && !loop->is_called.exchange(true)) {
        boost::asio::post(loop->io, [&keeper = keeper_] { keeper.look_after(); });
      }
    }
  }
  keeper_.freed_.notify_all();
}

Connection& SessionKeeper::Loan::session(Moment until) {
  if (keeper_.connection_ && !keeper_.connection_->is_lost()) {
    keeper_.connection_->expect_answers_by(until + slack_of_answers);
  } else {
    keeper_.open(until, attempts_++);
  }
  return *keeper_.connection_;
}

// ---- For one who has the loan

void SessionKeeper::open(Moment until, int attempt) {
  drop();
  bool are_locks_held = false;
  {
    const std::lock_guard lock(mutex_);
    are_locks_held = !held_.empty();
  }
  const auto left = left_until(until);
  std::unique_ptr<Connection> fresh;
  if (are_locks_held) {
    fresh = connect(target_, std::nullopt, most_for_an_answer);
    lock_again(*fresh);
  } else {
    const auto first = names_one_host(target_) ? first_connect_timeout : first_timeout_of_several;
    const auto patience = first * (1 << std::min(attempt, most_doublings));
    fresh = connect(target_,
                    std::clamp(std::chrono::ceil<seconds>(left), least_connect_timeout, patience),
                    left + slack_of_answers);
  }
  adopt(std::move(fresh), until);
}

void SessionKeeper::renew() {
  constexpr milliseconds pause{1000};
  if (steady_clock::now() < renew_after_) return;
  std::unique_ptr<Connection> fresh;
  try {
    fresh = connect(target_, std::nullopt, most_for_an_answer);
  } catch (const std::exception&) {
    // A crowded server has no room for another session, or lets nobody in any more: the old one
    // does for now.
    renew_after_ = steady_clock::now() + pause;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!is_lent_in_vain()) return;
    is_renewing_ = true;
  }
  try {
    lock_again(*fresh);
    adopt(std::move(fresh), steady_clock::now());
  } catch (...) {
    drop();  // the new session has ended the old one
    throw;
  }
}

void SessionKeeper::adopt(std::unique_ptr<Connection> fresh, Moment until) {
  listen_again(*fresh);
  std::unique_lock lock(mutex_);
  // At least as long as it had from when it was connected: that may have taken all the time.
  fresh->expect_answers_by(std::max(fresh->answers_by(), until + slack_of_answers));
  fresh.swap(connection_);
  ++sessions_;
  last_backend_ = connection_->backend();
  descriptor_ = connection_->descriptor();
  last_used_ = steady_clock::now();
  is_lent_ = false;
  is_renewing_ = false;
  lost_since_ = 0;
  raise_all();
  start_loop();
  lock.unlock();
  freed_.notify_all();
  fresh.reset();  // may take a moment
}

void SessionKeeper::clear_suspicions(Connection& fresh) const {
  if (locked_.empty()) return;
  try {
    fresh.queue(lock_suspects);
    for (const std::int64_t number : locked_) {
      fresh.queue("DELETE FROM suspects WHERE lock = $1::bigint", Values().integer(number));
    }
    fresh.run();
  } catch (const ServerError& error) {
    // A server that takes no writes for now lets nobody act on a suspicion.
    if (!error.is_read_only()) throw;
  }
}

/// The locks belong to the session before, and the server may not know yet that it is lost.
void SessionKeeper::lock_again(Connection& fresh) {
  std::vector<std::int64_t> locks;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, state] : held_) locks.push_back(number);
  }
  constexpr std::string_view wait_at_most =
      "SELECT pg_catalog.set_config('lock_timeout', $1::bigint::text, false)";
  locked_.clear();
  try {
    queue_end_of(last_backend_, fresh);
    fresh.queue(wait_at_most, Values().integer(lock_timeout_of_keeper.count()));
    for (const std::int64_t number : locks) {
      fresh.queue("SELECT pg_advisory_lock($1::bigint)", Values().integer(number));
    }
    fresh.run();
    locked_.insert(locks.begin(), locks.end());
    if (is_late()) lose_what_was_taken(fresh);
    // Only now that all locks are held: a process that finds one missing later starts a new
    // suspicion.
    clear_suspicions(fresh);
    fresh.queue(wait_at_most, Values().integer(lock_timeout_of(target_).count()));
    fresh.run();
  } catch (const ServerError& error) {
    throw ConnectionLost(error.what());  // another attempt may succeed
  }
}

/// Others may have found that a lock was gone and written down the end of what it held. Once they
/// cannot be about to do so any more, what the tables still say is held. The lock over everything
/// waits for those who have looked at the locks before this session had them.
void SessionKeeper::lose_what_was_taken(Connection& fresh) {
  std::string numbers;
  for (const std::int64_t number : locked_) numbers += fmt::format("{},", number);
  std::set<std::int64_t> gone = locked_;
  try {
    fresh.queue("BEGIN");
    StreamLocks::lock_everything(fresh, StreamLocks::number(0, log_));
    const Result standing = fresh.ask(select_standing_locks, Values().text(numbers));
    for (int row = 0; row < standing.rows(); ++row) gone.erase(standing.integer(row, 0));
  } catch (const ServerError& error) {
    if (!error.is_stale()) throw;  // else the tables are gone too
  }
  fresh.queue("COMMIT");
  for (const std::int64_t number : gone) {
    fresh.queue("SELECT pg_advisory_unlock($1::bigint)", Values().integer(number));
    locked_.erase(number);
  }
  fresh.run();
  const std::lock_guard lock(mutex_);
  for (const std::int64_t number : gone) {
    const auto found = held_.find(number);
    if (found == held_.end()) continue;
    found->second->lost = true;
    held_.erase(found);
  }
}

void SessionKeeper::listen_again(Connection& fresh) {
  std::set<std::string> channels;
  {
    const std::lock_guard lock(mutex_);
    for (const CommitWakeup* const wakeup : wakeups_) channels.insert(wakeup->channel());
  }
  listens_ = !channels.empty();
  if (!listens_) return;
  for (const std::string& channel : channels) {
    fresh.queue(*listen_statements_.insert("LISTEN " + channel).first);
  }
  fresh.run();
}

void SessionKeeper::drop() {
  std::unique_ptr<Connection> gone;
  const std::lock_guard lock(mutex_);
  gone = std::move(connection_);
  descriptor_ = -1;
  if (std::exchange(is_renewing_, false)) freed_.notify_all();
  locked_.clear();
  let_go_.clear();
  is_lent_ = false;
  listens_ = false;
  if (held_.empty() || lost_since_ != 0) return;
  // A process that was stopped in a transaction notices late that its session has ended.
  const Moment since = gone ? gone->last_awake() : steady_clock::now();
  lost_since_ = since.time_since_epoch().count();
}

void SessionKeeper::tidy() noexcept {
  try {
    std::vector<std::int64_t> let_go;
    bool is_in_vain = false;
    bool is_heard_by_none = false;
    bool is_waited_for = false;
    {
      const std::lock_guard lock(mutex_);
      if (!connection_) return;
      is_in_vain = is_lent_in_vain();
      let_go.swap(let_go_);
      is_waited_for = !wakeups_.empty();
      is_heard_by_none = listens_ && !is_waited_for;
      if (is_heard_by_none) listens_ = false;
    }
    // A program that inherited the session would keep the other locks with it.
    if (is_in_vain && is_held_now()) renew();
    for (const std::int64_t number : let_go) {
      if (locked_.erase(number) == 0) continue;
      connection_->queue("SELECT pg_advisory_unlock($1::bigint)", Values().integer(number));
    }
    // Without it notifications would fill the socket of a program that inherited the session and
    // never reads.
    if (is_heard_by_none) connection_->queue("UNLISTEN *");
    if (is_heard_by_none || !let_go.empty()) connection_->post();
    if (is_waited_for) hear();
  } catch (const std::exception&) {
    drop();  // the thread opens another, if it is needed
  }
}

void SessionKeeper::hear() {
  const std::vector<std::string> channels = connection_->take_notifications();
  const std::lock_guard lock(mutex_);
  for (const CommitWakeup* const wakeup : wakeups_) {
    if (std::count(channels.begin(), channels.end(), wakeup->channel()) > 0) wakeup->raise();
  }
}

// ---- With the mutex held

bool SessionKeeper::is_lent_in_vain() const {
  return is_lent_ && std::none_of(held_.begin(), held_.end(),
                                  [](const auto& another) { return another.second->lent; });
}

bool SessionKeeper::is_untidy() const {
  return !let_go_.empty() || (listens_ && wakeups_.empty()) ||
         (is_lent_in_vain() && !held_.empty());
}

// ---- Around a fork

void SessionKeeper::before_fork(Users) { mutex_.lock(); }

void SessionKeeper::after_fork_in_parent() { mutex_.unlock(); }

void SessionKeeper::after_fork_in_child() {
  // The child has neither the threads nor the session, only their objects.
  static_cast<void>(loop_.release());
  connection_.reset();
  ++sessions_;
  descriptor_ = -1;
  is_renewing_ = false;
  held_.clear();
  locked_.clear();
  let_go_.clear();
  wakeups_.clear();
  waiting_.clear();
  is_lent_ = false;
  listens_ = false;
  lost_since_ = 0;
  new (&freed_) std::condition_variable;
  mutex_.unlock();
}

}  // namespace dbcache::store::postgres
