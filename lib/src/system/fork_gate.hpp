#pragma once

#include <chrono>

namespace dbcache::system {

/// What must hold nothing of the operating system's while the process forks.
class ForkAware {
 public:
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

  /// Locks every mutex of its own; and closes every descriptor, unless others still use them.
  enum class Users { none, some };
  virtual void before_fork(Users users) = 0;

  /// Unlocks them again.
  virtual void after_fork_in_parent() = 0;

  /// Unlocks them again, and forgets the threads that the child does not have.
  virtual void after_fork_in_child() = 0;

 protected:
  ForkAware() = default;
  ~ForkAware() = default;  // not deleted through this base
};

/// Keeps connections and fork() apart, for the whole process (pthread_atfork(3)).
///
/// SQLite keeps POSIX locks in a table of the process, which a child inherits without the locks
/// themselves: a connection that is open at a fork makes the child's own connections write without
/// taking any lock (https://www.sqlite.org/howtocorrupt.html, 2.6). So whoever uses a connection
/// holds a Pass, a fork waits until nobody does, and everything is closed before it. A use that
/// takes longer than the patience goes on in the parent, and the child, with all that it forks in
/// turn, may not touch a database.
class ForkGate {
 public:
  static ForkGate& instance();

  /// The right to use connections. Waits while a fork is under way; throws StorageFailure in a
  /// child of a fork that did not wait for its users.
  class Pass {
   public:
    Pass();
    ~Pass();
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
  };

  /// Mutexes are locked in the order in which members use them: those of inner ones, which others
  /// use while they have their own locked, come last.
  enum class Member { outer, inner };
  void enroll(ForkAware& member, Member as = Member::outer);
  void withdraw(ForkAware& member);

  /// How long a fork waits for the users of connections: 5 seconds, but for tests. Set it while no
  /// other thread uses or forks.
  void set_patience(std::chrono::milliseconds patience);

  /// Whether this process is a child that may not touch what its parent had open.
  [[nodiscard]] bool closed_to_this_process();

 private:
  ForkGate();
  void prepare();
  void release_in_parent();
  void release_in_child();

  struct State;
  State* state_;  // never freed: forks may come after the statics are gone
};

}  // namespace dbcache::system
