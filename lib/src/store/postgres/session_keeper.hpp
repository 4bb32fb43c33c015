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

/// How long a holder whose session is lost still holds on. A lost session is noticed within 6 s
/// (the sharp settings of connection.cpp), and whoever else notices it gives 15 s (`grace`): by
/// then this holder has given up.
inline constexpr std::chrono::seconds patience_of_holders{8};

/// The session by which this process lives for others: it holds an advisory lock for everything
/// that the process holds, and listens for commits. A thread watches it; where it is lost, it makes
/// another and takes the locks again, as long as that can be in time. Thread-safe.
class SessionKeeper final : public std::enable_shared_from_this<SessionKeeper>,
                            private system::ForkAware {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  explicit SessionKeeper(Target target);
  virtual ~SessionKeeper();

  /// Takes a new lock, in a log of that name. Throws ConnectionLost past `until`.
  [[nodiscard]] std::unique_ptr<LifeLock> hold(const std::string& log, Moment until);
  [[nodiscard]] std::unique_ptr<Wakeup> watch_commits(Moment until);

  /// The channel on which commits to this log are told.
  [[nodiscard]] const std::string& channel() const { return channel_; }

 private:
  class Lock;
  class CommitWakeup;
  struct Loop;
  struct Held {
    std::atomic<bool> lost = false;
    bool lent = false;  ///< Another program may have inherited the session for it.
  };

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  // With the mutex held:
  class Turn;
  void open_by(Moment until, Turn& turn);
  void restore();
  void lose();
  void renew();  ///< Ends the session, and goes on with another, which nobody has inherited.
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
  std::atomic<Moment::rep> lost_since_ = 0;  ///< 0: there is a session, or none is needed.
  mutable std::mutex mutex_;  // guards what follows; taken with a system::ForkGate::Pass
  std::condition_variable restored_;
  std::unique_ptr<Connection> connection_;
  Connection::Backend last_backend_;
  bool is_lent_ = false;  ///< Another program may have inherited the session.
  std::map<std::int64_t, std::shared_ptr<Held>> held_;
  std::set<CommitWakeup*> wakeups_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace dbcache::store::postgres
