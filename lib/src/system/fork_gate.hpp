#pragma once

#include <chrono>

namespace dbcache::system {

/// An object that must prepare for a fork: it may not hold mutexes or descriptors of the system
/// then.
class ForkAware {
 public:
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

  /// Locks every mutex of its own. Closes every descriptor, if there are no users left.
  enum class Users { none, some };
  virtual void before_fork(Users users) = 0;

  /// Unlocks the mutexes.
  virtual void after_fork_in_parent() = 0;

  /// Unlocks the mutexes, and forgets the threads, which the child does not have.
  virtual void after_fork_in_child() = 0;

 protected:
  ForkAware() = default;
  ~ForkAware() = default;  // not deleted through this base
};

/// Keeps connections and fork() apart, for the whole process (pthread_atfork(3)).
///
/// SQLite lists its POSIX locks in a table of the process. A forked child inherits the table, but
/// not the locks. If a connection was open at the fork, the child's own connections write without a
/// lock (https://www.sqlite.org/howtocorrupt.html, 2.6). So each use of a connection holds a Pass.
/// A fork waits until there is no Pass, and then closes everything. If a use takes longer than the
/// patience, it continues in the parent, and the child and its own children may not touch a
/// database.
class ForkGate {
 public:
  static ForkGate& instance();

  /// The right to use connections. The constructor waits while a fork is under way. It throws
  /// StorageFailure in a child whose fork did not wait for all users.
  class Pass {
   public:
    Pass();
    ~Pass();
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
  };

  /// The order of locking at a fork. Outer members lock their own mutex and then use inner ones, so
  /// inner mutexes come last.
  enum class Member { outer, inner };
  void enroll(ForkAware& member, Member as = Member::outer);
  void withdraw(ForkAware& member);

  /// How long a fork waits for the users of connections: 5 seconds, except in tests. Set it while
  /// no other thread uses a connection or forks.
  void set_patience(std::chrono::milliseconds patience);

  /// Whether this process is a child that must not touch what its parent had open.
  [[nodiscard]] bool closed_to_this_process();

 private:
  ForkGate();
  void prepare();
  void release_in_parent();
  void release_in_child();

  struct State;
  State* state_;  // never freed: a fork may follow the end of the statics
};

}  // namespace dbcache::system
