#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "store/engine.hpp"
#include "store/postgres/connect.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store::postgres {

/// How long a holder keeps its locks after its session was lost. It notices the loss within 6 s
/// (LossDetection::quick); other processes that notice it wait for 15 s (`grace`). By then this
/// holder has given up.
inline constexpr std::chrono::seconds patience_of_holders{8};

/// The session that shows other processes that this one lives: it has an advisory lock for each
/// lease or other thing that the process holds, and listens for commits. A thread watches it. If it
/// is lost, the thread opens another and takes the locks again while there is time. Thread-safe.
class SessionKeeper final : public std::enable_shared_from_this<SessionKeeper>,
                            private system::ForkAware {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  explicit SessionKeeper(Target target);
  virtual ~SessionKeeper();

  /// Takes a new lock, in the log of that name. Throws ConnectionLost if there is no session until
  /// `until`.
  [[nodiscard]] std::unique_ptr<LifeLock> take_lock(const std::string& log, Moment until);
  [[nodiscard]] std::unique_ptr<Wakeup> watch_commits(Moment until);

  /// The channel that announces commits to this log.
  [[nodiscard]] const std::string& channel() const { return channel_; }

 private:
  class Lock;
  class CommitWakeup;
  struct Loop;
  struct LockState {
    std::atomic<bool> lost = false;
    bool lent = false;  ///< Another program may have inherited the session because of it.
  };

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  // With the mutex held:
  class Guard;
  void open_by(Moment until, Guard& guard);
  void restore();
  void lose();
  void renew();  ///< Replaces the session by one that no other program has inherited.
  bool give_up_if_late();
  void listen();
  void raise_all();
  template <class Use>
  bool use(Use use);

  // On the loop's thread:
  void watch_socket();
  void close_copy();
  void on_readable();
  void reconnect(std::chrono::milliseconds pause);

  const Target target_;
  const std::string channel_;
  const std::string listen_;
  std::atomic<Moment::rep> lost_since_ = 0;  ///< 0: there is a session, or no need for one.
  mutable std::mutex mutex_;  // guards what follows; taken with a system::ForkGate::Pass
  std::condition_variable restored_;
  std::unique_ptr<Connection> connection_;
  Connection::Backend last_backend_;
  bool is_lent_ = false;  ///< Another program may have inherited the session.
  std::map<std::int64_t, std::shared_ptr<LockState>> held_;
  std::set<CommitWakeup*> wakeups_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace dbcache::store::postgres
