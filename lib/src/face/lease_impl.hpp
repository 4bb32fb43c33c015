#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>
#include <utility>

#include <sys/types.h>

#include <dbcache/shared_clusters.hpp>

#include "coordination/acquisition.hpp"
#include "coordination/coordinator.hpp"

namespace dbcache {

/// A lease in the process that holds it.
class ClusterLease::Impl {
 public:
  Impl(coordination::Coordinator of, coordination::Granted what, ClusterLifecycle with)
      : coordinator(std::move(of)), granted(std::move(what)), lifecycle(std::move(with)) {}

  /// False in a forked child, since the lease is its parent's, and after the lease was released.
  [[nodiscard]] bool is_ours() const { return !ended && owner == ::getpid(); }

  /// Calls `look` with the lock, or null. The lock lives for the time of the call.
  template <class Look>
  auto with_lock(Look look) const {
    const std::scoped_lock guard(mutex_);
    return look(static_cast<const store::LifeLock*>(granted.lock.get()));
  }
  void give_lock_up() {
    const std::scoped_lock guard(mutex_);
    granted.lock.reset();
    counted_.reset();
  }

  coordination::Coordinator coordinator;
  coordination::Granted granted;
  ClusterLifecycle lifecycle;
  /// Joined inside `dbcache run`: `run` ends it, not this object.
  const bool is_borrowed = granted.lock == nullptr;
  const pid_t owner = ::getpid();
  std::atomic<bool> ended = false;

 private:
  mutable std::mutex
      mutex_;  ///< Guards the lock: threads may look at a lease while another releases it.
  std::shared_ptr<const void> counted_ = is_borrowed ? nullptr : coordinator.count_a_lease();
};

class RunMembership::Impl {
 public:
  Impl(coordination::Coordinator of, std::unique_ptr<store::LifeLock> held, rows::EventName who,
       std::string name)
      : coordinator(std::move(of)),
        lock(std::move(held)),
        participant(std::move(who)),
        run(std::move(name)) {}

  coordination::Coordinator coordinator;
  std::unique_ptr<store::LifeLock> lock;
  rows::EventName participant;
  std::string run;
  const pid_t owner = ::getpid();
  bool ended = false;
};

/// Makes objects whose constructors are private to the library.
class LeaseMaker {
 public:
  template <class... Parts>
  static ClusterLease lease(Parts&&... parts) {
    return ClusterLease(std::make_unique<ClusterLease::Impl>(std::forward<Parts>(parts)...));
  }
  template <class... Parts>
  static RunMembership membership(Parts&&... parts) {
    return RunMembership(std::make_unique<RunMembership::Impl>(std::forward<Parts>(parts)...));
  }
};

}  // namespace dbcache
