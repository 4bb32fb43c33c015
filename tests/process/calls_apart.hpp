#pragma once

#include <mutex>
#include <shared_mutex>

#include "support/rounds.hpp"

namespace dbcache::test {

/// Keeps the calls of other threads and a fork apart, under the address and the thread sanitizer
/// only: their allocator (in GCC 12 and clang 14) does not take its locks over a fork, as glibc's
/// does, and a child would wait for ever for one that another thread held. Anywhere else this does
/// nothing, and a fork meets calls that are running.
class CallsApart {
 public:
  template <class Call>
  void call(Call run) {
    std::shared_lock<std::shared_mutex> lock(calls_, std::defer_lock);
    if (sanitized) {
      const std::lock_guard turn(turn_);  // a fork that waits comes before the next call
      lock.lock();
    }
    run();
  }

  /// Returns what `fork_now` returns in the parent; the child must not come back.
  template <class Fork>
  auto fork(Fork fork_now) {
    std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
    std::unique_lock<std::shared_mutex> lock(calls_, std::defer_lock);
    if (sanitized) {
      turn.lock();
      lock.lock();
    }
    return fork_now();
  }

 private:
  std::mutex turn_;
  std::shared_mutex calls_;
};

}  // namespace dbcache::test
