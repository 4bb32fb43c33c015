#include <cstring>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>

#include "store/postgres/session_parts.hpp"
#include "store/postgres/stream_locks.hpp"
#include "system/process.hpp"

// What the session is kept for: the locks that this process holds, and those who wait for commits.
namespace dbcache::store::postgres {
namespace {

using std::chrono::steady_clock;

std::int64_t random_lock() {
  const auto bits = system::random_128_bits();
  std::uint64_t number = 0;
  std::memcpy(&number, bits.data(), sizeof number);
  return static_cast<std::int64_t>(number >> 2U) + 1;
}

}  // namespace

/// A lock that this process holds. It outlives the session that it was taken in.
class SessionKeeper::Lock final : public LifeLock {
 public:
  Lock(std::shared_ptr<SessionKeeper> keeper, std::shared_ptr<LockState> state, rows::Holder holder)
      : keeper_(std::move(keeper)), state_(std::move(state)), holder_(std::move(holder)) {}

  ~Lock() override {
    if (owner_ != ::getpid()) return;
    try {
      const system::ForkGate::Pass pass;
      {
        const std::lock_guard lock(keeper_->mutex_);
        const bool was_given_up = keeper_->held_.erase(holder_.lock) == 0;
        if (was_given_up) return;
        keeper_->let_go_.push_back(holder_.lock);
      }
      // Not waited for: the log says already that the lock holds nothing.
      Loan loan(*keeper_, std::try_to_lock);
      if (loan.is_mine()) loan.tidy();
    } catch (const std::exception&) {
      // The lock ends with the session.
    }
  }

  [[nodiscard]] const rows::Holder& holder() const override { return holder_; }
  void done() override {}  // waiters are woken by the commit that says so
  [[nodiscard]] bool lost() const override {
    return owner_ == ::getpid() && (state_->lost || keeper_->is_late());
  }
  [[nodiscard]] bool in_doubt() const override {
    return owner_ == ::getpid() && keeper_->lost_since_.load() != 0;
  }
  [[nodiscard]] int descriptor() const override {
    if (owner_ != ::getpid()) return -1;
    std::unique_lock lock(keeper_->mutex_);
    keeper_->freed_.wait(lock, [&] { return !keeper_->is_renewing_; });
    if (keeper_->descriptor_ < 0) return -1;
    state_->lent = true;
    keeper_->is_lent_ = true;
    return keeper_->descriptor_;
  }

 private:
  const std::shared_ptr<SessionKeeper> keeper_;
  const std::shared_ptr<LockState> state_;
  const rows::Holder holder_;
  const pid_t owner_ = ::getpid();
};

SessionKeeper::CommitWakeup::CommitWakeup(std::shared_ptr<SessionKeeper> keeper,
                                          std::string channel)
    : keeper_(std::move(keeper)),
      channel_(std::move(channel)),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

SessionKeeper::CommitWakeup::~CommitWakeup() {
  if (event_.get() < 0) return;
  try {
    const system::ForkGate::Pass pass;
    {
      const std::lock_guard lock(keeper_->mutex_);
      keeper_->wakeups_.erase(this);
    }
    Loan loan(*keeper_, std::try_to_lock);
    if (loan.is_mine()) loan.tidy();
  } catch (const std::exception&) {
    // Needless notifications do no harm.
  }
}

void SessionKeeper::CommitWakeup::clear() {
  std::uint64_t count = 0;
  if (event_.get() >= 0) static_cast<void>(!::read(event_.get(), &count, sizeof count));
}

void SessionKeeper::CommitWakeup::raise() const {
  constexpr std::uint64_t one = 1;
  if (event_.get() >= 0) static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

std::string SessionKeeper::channel_of(std::optional<std::string_view> stream) const {
  const auto number = [](const std::string& of) {
    return static_cast<std::uint64_t>(StreamLocks::number(0, of));
  };
  std::string channel = fmt::format("dbcache_{:016x}", number("commits " + target_.schema));
  if (stream) channel += fmt::format("_{:016x}", number(std::string(*stream)));
  return channel;
}

std::string SessionKeeper::channels_of(const std::vector<std::string_view>& streams) const {
  std::string channels = channel_of({});
  for (const std::string_view stream : streams) channels += "," + channel_of(stream);
  return channels;
}

bool SessionKeeper::holds(std::int64_t lock) const {
  const std::lock_guard guard(mutex_);
  return held_.contains(lock);
}

std::unique_ptr<LifeLock> SessionKeeper::take_lock(const std::string& log) {
  const bool is_in_vain = [&] {
    const std::lock_guard guard(mutex_);
    return is_lent_in_vain();
  }();
  // A program that inherited the session would keep the lock with it.
  if (is_in_vain) renew();
  rows::Holder holder;
  holder.lock_file = log;
  holder.process = system::own_process();
  holder.host = system::host_name();
  bool taken = false;
  while (!taken) {
    holder.lock = random_lock();
    taken =
        connection_->ask("SELECT pg_try_advisory_lock($1::bigint)", Values().integer(holder.lock))
            .is_true(0, 0);
  }
  auto state = std::make_shared<LockState>();
  log_ = log;
  locked_.insert(holder.lock);
  const std::lock_guard guard(mutex_);
  held_.emplace(holder.lock, state);
  return std::make_unique<Lock>(shared_from_this(), std::move(state), std::move(holder));
}

std::unique_ptr<Wakeup> SessionKeeper::watch_commits(Connection& session,
                                                     std::optional<std::string_view> stream) {
  const std::string channel = channel_of(stream);
  session.queue(*listen_statements_.insert("LISTEN " + channel).first);
  session.run();
  auto wakeup = std::make_unique<CommitWakeup>(shared_from_this(), channel);
  const std::lock_guard guard(mutex_);
  listens_ = true;
  wakeups_.insert(wakeup.get());
  return wakeup;
}

bool SessionKeeper::is_late() const {
  const auto since = lost_since_.load();
  return since != 0 && steady_clock::now().time_since_epoch().count() - since >
                           steady_clock::duration(patience_of_holders).count();
}

void SessionKeeper::give_up_if_late() {
  if (!is_late()) return;
  for (const auto& [lock, state] : held_) state->lost = true;
  held_.clear();
}

void SessionKeeper::raise_all() const {
  for (const CommitWakeup* const wakeup : wakeups_) wakeup->raise();
}

}  // namespace dbcache::store::postgres
