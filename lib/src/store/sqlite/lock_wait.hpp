#pragma once

#include <chrono>

#include "store/engine.hpp"

namespace dbcache::store::sqlite {

/// One call's wait for locks of other processes. It lasts up to the busy timeout.
class LockWait {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  explicit LockWait(const EngineOptions& options);

  [[nodiscard]] Deadline deadline() const { return deadline_; }
  [[nodiscard]] Deadline::duration left() const {
    return deadline_ - std::chrono::steady_clock::now();
  }

  [[nodiscard]] bool is_over() const { return left() <= Deadline::duration::zero(); }
  /// Throws Busy once the deadline has passed.
  void throw_if_over() const;

  /// After a failed try: sleeps, longer each time.
  void sleep();
  /// The same. Throws Busy past the deadline.
  void pause();

 private:
  const EngineOptions& options_;
  Deadline deadline_;
  int tries_ = 0;
};

}  // namespace dbcache::store::sqlite
