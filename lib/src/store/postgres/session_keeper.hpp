#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/engine.hpp"
#include "store/postgres/connect.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store::postgres {

/// How long a holder counts on its locks after its session was lost. It notices the loss within 7 s
/// (connect.cpp, and a second until the thread looks); other processes that notice it wait for 15 s
/// (`grace`). By then this holder has told its user that they are lost. If it can take them later
/// and nobody has taken what they hold, they are held again.
inline constexpr std::chrono::seconds patience_of_holders{8};

/// The one session of an engine. It runs transactions, has an advisory lock for each lease or other
/// thing that the process holds, which shows other processes that this one lives, and listens for
/// commits. If these were several sessions, a crowd larger than the server's connections could have
/// one each and wait for the next for ever.
///
/// A thread watches the session while nobody uses it. If it is lost while something is held, the
/// thread opens another and takes the locks again. If nothing is held and nobody waits, it is
/// closed after some seconds. Thread-safe.
class SessionKeeper final : public std::enable_shared_from_this<SessionKeeper>,
                            private system::ForkAware {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  explicit SessionKeeper(Target target);
  virtual ~SessionKeeper();

  /// The use of the session by one thread. Threads get it in the order in which they ask.
  class Loan {
   public:
    /// Throws Busy if other threads have it until then.
    Loan(SessionKeeper& keeper, Moment until);
    /// Not waited for, and for the thread that watches.
    Loan(SessionKeeper& keeper, std::try_to_lock_t);
    ~Loan();
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    [[nodiscard]] bool is_mine() const { return is_mine_; }

    // With a pass of the fork gate:

    /// The session, which answers until then. Opens another if it is lost, and takes all locks
    /// again. Throws ConnectionLost if another attempt may succeed, else typed errors.
    Connection& session(Moment until);
    /// Another number is another session.
    [[nodiscard]] std::uint64_t number() const { return keeper_.sessions_; }
    void drop() { keeper_.drop(); }
    /// What others wanted done with the session while it was lent. Sends, and does not wait.
    void tidy() noexcept { keeper_.tidy(); }

   private:
    void begin();

    SessionKeeper& keeper_;
    bool is_mine_ = false;
    bool is_watcher_ = false;
    int attempts_ = 0;  ///< To open a session.
  };

  /// Takes a new lock, in the log of that name. For one who has the loan; it may replace the
  /// session.
  [[nodiscard]] std::unique_ptr<LifeLock> take_lock(const std::string& log);
  /// Listens, in the session on loan, for commits to a stream, or for all.
  [[nodiscard]] std::unique_ptr<Wakeup> watch_commits(Connection& session,
                                                      std::optional<std::string_view> stream);

  /// Closes the session unless it is needed or in use. Returns whether there is none now.
  bool close_idle();

  /// Whether this process holds a lock, though its session may be lost.
  [[nodiscard]] bool is_held_now() const {
    const std::lock_guard lock(mutex_);
    return !held_.empty();
  }
  /// Whether this session has the lock: the server would let it share its own.
  [[nodiscard]] bool holds(std::int64_t lock) const;
  /// Whether others may have taken what this process holds: its session was lost too long ago.
  [[nodiscard]] bool is_late() const;

  /// The channels that announce a commit to these streams, with commas between them.
  [[nodiscard]] std::string channels_of(const std::vector<std::string_view>& streams) const;

 private:
  class Lock;
  class CommitWakeup;
  struct Loop;
  struct LockState {
    std::atomic<bool> lost = false;  ///< For good.
    bool lent = false;  ///< Another program may have inherited the session because of it.
  };

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  // For one who has the loan:
  void open(Moment until, int attempt);
  void renew();  ///< Replaces the session by one that no other program has inherited.
  void adopt(std::unique_ptr<Connection> fresh, Moment until);
  void lock_again(Connection& fresh);
  void lose_what_was_taken(Connection& fresh);
  void clear_suspicions(Connection& fresh) const;
  void listen_again(Connection& fresh);
  void drop();
  void tidy() noexcept;
  void hear();  ///< Wakes those whose channels the session has heard of.

  // With the mutex held:
  [[nodiscard]] bool is_needed() const { return !held_.empty() || !wakeups_.empty(); }
  [[nodiscard]] bool is_untidy() const;
  [[nodiscard]] bool is_lent_in_vain() const;
  void give_up_if_late();
  void raise_all() const;
  void start_loop();

  // On the loop's thread:
  void look_after();
  [[nodiscard]] std::chrono::milliseconds next_reconnect_pause();
  bool look_after_idle();
  void watch_socket();
  void await_input();
  void close_copy();
  void on_readable();

  [[nodiscard]] bool is_needed_now() const {
    const std::lock_guard lock(mutex_);
    return is_needed();
  }
  [[nodiscard]] std::string channel_of(std::optional<std::string_view> stream) const;

  const Target target_;
  std::atomic<Moment::rep> lost_since_ = 0;  ///< 0: there is a session, or no need for one.
  mutable std::mutex mutex_;                 // guards what follows; a pass is taken before it
  std::condition_variable freed_;
  std::uint64_t next_ticket_ = 0;
  std::deque<std::uint64_t> waiting_;       ///< Tickets of threads; the first has the session.
  std::unique_ptr<Connection> connection_;  ///< Changed by one who has the loan, with the mutex.
  std::uint64_t sessions_ = 0;
  Connection::Backend last_backend_;
  std::string log_;  ///< The name of the log that the locks are in.
  Moment renew_after_{};
  Moment last_used_{};
  int descriptor_ = -1;       ///< The connection's, which its user may be changing.
  bool is_lent_ = false;      ///< Another program may have inherited the session.
  bool is_renewing_ = false;  ///< Meanwhile nothing is lent.
  std::map<std::int64_t, std::shared_ptr<LockState>> held_;
  std::set<std::int64_t> locked_;     ///< In this session; for one who has the loan.
  std::vector<std::int64_t> let_go_;  ///< Not unlocked yet.
  std::set<CommitWakeup*> wakeups_;
  bool listens_ = false;
  std::set<std::string> listen_statements_;  ///< A connection refers to them.
  std::unique_ptr<Loop> loop_;
};

}  // namespace dbcache::store::postgres
