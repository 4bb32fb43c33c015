#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/measure.hpp"

namespace dbcache::bench {

/// What processes made that began at once and called for so long.
struct Contention {
  Round round;                 ///< Calls that ended later do not count, but for how long they took.
  std::int64_t succeeded = 0;  ///< Of all calls, those before and after the time too.
  std::int64_t failed = 0;
  /// Of the processor, all processes together, over the calls that `round` has the latencies of.
  Nanoseconds processor = 0;
};

/// Starts a process of this program for each role, which is given the time in milliseconds as its
/// last word, and calls `contend` with it.
Contention run_contenders(const std::vector<std::vector<std::string>>& roles, Seconds time);

/// In such a process: calls once, says so, waits for the moment to begin, and calls for so long.
void contend(std::chrono::milliseconds time, const std::function<void()>& call);

/// Numbers to and from the process that started this one (worker.hpp).
void say(const std::vector<std::int64_t>& numbers);
std::int64_t hear();

}  // namespace dbcache::bench
