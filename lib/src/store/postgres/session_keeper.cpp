#include "store/postgres/session_keeper.hpp"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <thread>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <sys/eventfd.h>

#include <dbcache/errors.hpp>

#include "store/postgres/session_liveness.hpp"
#include "store/postgres/stream_locks.hpp"
#include "system/descriptor.hpp"
#include "system/detached_thread.hpp"
#include "system/process.hpp"

namespace asio = boost::asio;

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds first_reconnect_pause{20};
constexpr milliseconds most_reconnect_pause{1000};

/// For a server that hangs although its host answers. Longer than a session waits for one of its
/// own locks.
constexpr milliseconds most_for_an_answer{5000};

std::int64_t random_lock() {
  const auto bits = system::random_128_bits();
  std::uint64_t number = 0;
  std::memcpy(&number, bits.data(), sizeof number);
  return static_cast<std::int64_t>(number >> 2U) + 1;
}

}  // namespace

/// The thread that watches the session.
struct SessionKeeper::Loop {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  asio::posix::stream_descriptor socket{io};  ///< Of a copy, because closing it ends the wait.
  std::optional<system::ForkClosed> copy;
  asio::steady_timer retry{io};
  std::thread thread;
};

/// A lock that this process holds. It outlives the session that it was taken in.
class SessionKeeper::Lock final : public LifeLock {
 public:
  Lock(std::shared_ptr<SessionKeeper> keeper, std::shared_ptr<LockState> state, rows::Holder holder)
      : keeper_(std::move(keeper)), state_(std::move(state)), holder_(std::move(holder)) {}

  ~Lock() override {
    if (owner_ != ::getpid()) return;
    try {
      const system::ForkGate::Pass pass;
      const std::lock_guard lock(keeper_->mutex_);
      const bool was_given_up = keeper_->held_.erase(holder_.lock) == 0;
      if (was_given_up || !keeper_->connection_) return;
      // A program that inherited the session would keep this lock with it.
      const bool still_lent = std::any_of(keeper_->held_.begin(), keeper_->held_.end(),
                                          [](const auto& another) { return another.second->lent; });
      if (keeper_->is_lent_ && !still_lent) {
        keeper_->renew();
        return;
      }
      // Not waited for: the log says already that the lock holds nothing.
      keeper_->use([&](Connection& connection) {
        connection.queue("SELECT pg_advisory_unlock($1::bigint)", Values().integer(holder_.lock));
        connection.post();
      });
    } catch (const std::exception&) {
      // The lock ends with the session.
    }
  }

  [[nodiscard]] const rows::Holder& holder() const override { return holder_; }
  void done() override {}  // waiters are woken by the commit that says so
  [[nodiscard]] bool lost() const override {
    if (owner_ != ::getpid()) return false;
    const auto since = keeper_->lost_since_.load();
    if (since != 0 && steady_clock::now().time_since_epoch().count() - since >
                          steady_clock::duration(patience_of_holders).count()) {
      state_->lost = true;
    }
    return state_->lost;
  }
  [[nodiscard]] bool in_doubt() const override {
    return owner_ == ::getpid() && keeper_->lost_since_.load() != 0;
  }
  [[nodiscard]] int descriptor() const override {
    if (owner_ != ::getpid()) return -1;
    const std::lock_guard lock(keeper_->mutex_);
    if (!keeper_->connection_) return -1;
    state_->lent = true;
    keeper_->is_lent_ = true;
    return keeper_->connection_->descriptor();
  }

 private:
  const std::shared_ptr<SessionKeeper> keeper_;
  const std::shared_ptr<LockState> state_;
  const rows::Holder holder_;
  const pid_t owner_ = ::getpid();
};

/// A waiter for commits.
class SessionKeeper::CommitWakeup final : public Wakeup {
 public:
  explicit CommitWakeup(std::shared_ptr<SessionKeeper> keeper)
      : keeper_(std::move(keeper)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  ~CommitWakeup() override {
    if (event_.get() < 0) return;
    try {
      const system::ForkGate::Pass pass;
      const std::lock_guard lock(keeper_->mutex_);
      keeper_->wakeups_.erase(this);
      if (!keeper_->wakeups_.empty() || !keeper_->connection_) return;
      // Without it notifications would fill the socket of a program that inherited the session and
      // never reads.
      keeper_->use([&](Connection& connection) { connection.ask("UNLISTEN *"); });
    } catch (const std::exception&) {
      // Needless notifications do no harm.
    }
  }

  [[nodiscard]] int descriptor() const override { return event_.get(); }
  void clear() override {
    std::uint64_t count = 0;
    if (event_.get() >= 0) static_cast<void>(!::read(event_.get(), &count, sizeof count));
  }
  void raise() const {
    constexpr std::uint64_t one = 1;
    if (event_.get() >= 0) static_cast<void>(!::write(event_.get(), &one, sizeof one));
  }

 private:
  const std::shared_ptr<SessionKeeper> keeper_;
  system::Descriptor event_;
};

/// Holds the mutex, and the fork gate's pass to use connections. A wait releases both, so that a
/// fork does not wait for it.
class SessionKeeper::Guard {
 public:
  explicit Guard(std::mutex& mutex) : lock_(mutex, std::defer_lock) { take(); }

  template <class Condition>
  void wait_for(std::condition_variable& condition, milliseconds most, Condition is_so) {
    lock_.unlock();  // a pass is always taken before the mutex
    pass_.reset();
    lock_.lock();
    condition.wait_for(lock_, most, is_so);
    lock_.unlock();
    take();
  }

 private:
  void take() {
    pass_.emplace();
    lock_.lock();
  }

  std::optional<system::ForkGate::Pass> pass_;
  std::unique_lock<std::mutex> lock_;
};

SessionKeeper::SessionKeeper(Target target)
    : target_(std::move(target)),
      channel_(fmt::format("dbcache_{:016x}", static_cast<std::uint64_t>(StreamLocks::number(
                                                  0, "commits " + target_.schema)))),
      listen_("LISTEN " + channel_) {
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

std::unique_ptr<LifeLock> SessionKeeper::take_lock(const std::string& log, Moment until) {
  rows::Holder holder;
  holder.lock_file = log;
  holder.process = system::identify_process(::getpid());
  holder.host = system::host_name();
  auto state = std::make_shared<LockState>();
  Guard guard(mutex_);
  for (;;) {
    open_by(until, guard);
    holder.lock = random_lock();
    bool taken = false;
    const bool asked = use([&](Connection& connection) {
      taken =
          connection.ask("SELECT pg_try_advisory_lock($1::bigint)", Values().integer(holder.lock))
              .is_true(0, 0);
    });
    if (asked && taken) break;
  }
  held_.emplace(holder.lock, state);
  return std::make_unique<Lock>(shared_from_this(), std::move(state), std::move(holder));
}

std::unique_ptr<Wakeup> SessionKeeper::watch_commits(Moment until) {
  auto wakeup = [&] {
    const system::ForkGate::Pass pass;
    return std::make_unique<CommitWakeup>(shared_from_this());
  }();
  Guard guard(mutex_);
  open_by(until, guard);
  const bool first = wakeups_.empty();
  wakeups_.insert(wakeup.get());
  if (first) use([&](Connection&) { listen(); });
  return wakeup;
}

// ---- The session, with the mutex held

/// False if the session was lost meanwhile.
template <class Use>
bool SessionKeeper::use(Use use) {
  try {
    connection_->expect_answers_by(steady_clock::now() + most_for_an_answer);
    use(*connection_);
    // This may have read notifications: the thread that watches the socket will not see them.
    if (connection_->take_notifications() > 0) raise_all();
    return true;
  } catch (const ConnectionLost&) {
    lose();
    return false;
  }
}

void SessionKeeper::open_by(Moment until, Guard& guard) {
  milliseconds pause = first_reconnect_pause;
  while (!connection_) {
    try {
      restore();
    } catch (const ConnectionLost&) {
      if (steady_clock::now() >= until) throw;
      guard.wait_for(restored_, pause, [&] { return connection_ != nullptr; });
      pause = std::min(2 * pause, most_reconnect_pause);
    }
  }
}

void SessionKeeper::restore() {
  give_up_if_late();
  auto fresh = connect(target_, LossDetection::quick, most_for_an_answer);
  if (!held_.empty()) {
    // The locks belong to the lost session, and the server may not know yet that it is lost.
    fresh->queue(
        "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
        "WHERE pid = $1::integer AND backend_start::text = $2::text",
        Values().integer(last_backend_.pid).text(last_backend_.start));
    for (const auto& [lock, state] : held_) {
      fresh->queue("SELECT pg_advisory_lock($1::bigint)", Values().integer(lock));
    }
    fresh->run();
    // Only now that all locks are held: a process that finds one missing later starts a new
    // suspicion.
    fresh->queue(lock_suspects);
    for (const auto& [lock, state] : held_) {
      fresh->queue("DELETE FROM suspects WHERE lock = $1::bigint", Values().integer(lock));
    }
    fresh->run();
  }
  // Connecting took time: locks that were given up meanwhile must not stay held.
  if (give_up_if_late()) fresh->ask("SELECT pg_advisory_unlock_all()");
  // While this is not the session yet: if it fails, the caller tries another.
  if (!wakeups_.empty()) {
    fresh->queue(listen_);
    fresh->run();
  }
  connection_ = std::move(fresh);
  is_lent_ = false;
  last_backend_ = connection_->backend();
  lost_since_ = 0;
  raise_all();
  restored_.notify_all();
  if (!loop_) {
    const system::BlockedSignals blocked;
    loop_ = std::make_unique<Loop>();
    loop_->thread = std::thread([&io = loop_->io] { io.run(); });
    ::pthread_setname_np(loop_->thread.native_handle(), "dbcache-session");
  }
  asio::post(loop_->io, [this] { watch_socket(); });
}

void SessionKeeper::lose() {
  connection_.reset();
  if (lost_since_ == 0) lost_since_ = steady_clock::now().time_since_epoch().count();
  asio::post(loop_->io, [this] { reconnect(first_reconnect_pause); });
}

void SessionKeeper::renew() {
  lose();
  restore();
}

bool SessionKeeper::give_up_if_late() {
  const auto since = lost_since_.load();
  if (since == 0 || steady_clock::now().time_since_epoch().count() - since <=
                        steady_clock::duration(patience_of_holders).count()) {
    return false;
  }
  for (const auto& [lock, state] : held_) state->lost = true;
  held_.clear();
  return true;
}

void SessionKeeper::listen() {
  connection_->queue(listen_);
  connection_->run();
}

void SessionKeeper::raise_all() {
  for (const CommitWakeup* const wakeup : wakeups_) wakeup->raise();
}

// ---- On the loop's thread

void SessionKeeper::watch_socket() {
  const system::ForkGate::Pass pass;
  const std::lock_guard lock(mutex_);
  if (!connection_ || connection_->descriptor() < 0) return;
  close_copy();
  const int copy = ::fcntl(connection_->descriptor(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return;
  loop_->copy.emplace(copy);
  boost::system::error_code ignored;
  loop_->socket.assign(copy, ignored);
  loop_->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& error) {
                             if (!error) on_readable();
                           });
}

void SessionKeeper::close_copy() {
  loop_->copy.reset();
  boost::system::error_code ignored;
  loop_->socket.close(ignored);
}

void SessionKeeper::on_readable() {
  {
    const system::ForkGate::Pass pass;
    const std::lock_guard lock(mutex_);
    if (!connection_) return;
    if (!use([](Connection&) {})) return;
  }
  loop_->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& error) {
                             if (!error) on_readable();
                           });
}

void SessionKeeper::reconnect(milliseconds pause) {
  try {
    const system::ForkGate::Pass pass;
    const std::lock_guard lock(mutex_);
    if (connection_) return;
    close_copy();
    give_up_if_late();
    if (held_.empty() && wakeups_.empty()) return;  // the next caller opens one
    restore();
    return;
  } catch (const std::exception&) {
    // The server is not back yet.
  }
  loop_->retry.expires_after(pause);
  loop_->retry.async_wait([this, pause](const boost::system::error_code& error) {
    if (!error) reconnect(std::min(2 * pause, most_reconnect_pause));
  });
}

// ---- Around a fork

void SessionKeeper::before_fork(Users) { mutex_.lock(); }

void SessionKeeper::after_fork_in_parent() { mutex_.unlock(); }

void SessionKeeper::after_fork_in_child() {
  // The child has neither the thread nor the session, only their objects.
  static_cast<void>(loop_.release());
  connection_.reset();
  held_.clear();
  wakeups_.clear();
  lost_since_ = 0;
  new (&restored_) std::condition_variable;
  mutex_.unlock();
}

}  // namespace dbcache::store::postgres
