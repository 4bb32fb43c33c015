#include "store/sqlite/lock_wait.hpp"

#include <algorithm>
#include <random>
#include <thread>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::sqlite {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// A program that takes no turns may hold the lock; each try then waits longer than the one before.
constexpr milliseconds first_lock_pause{1};
constexpr milliseconds most_lock_pause{50};

/// The clock cannot count further: a longer busy timeout means no limit.
constexpr milliseconds longest_wait_for_locks = std::chrono::years{100};

microseconds random_between(microseconds least, microseconds most) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return microseconds(
      std::uniform_int_distribution<microseconds::rep>(least.count(), most.count())(random));
}

}  // namespace

LockWait::LockWait(const EngineOptions& options)
    : options_(options),
      deadline_(std::chrono::steady_clock::now() +
                std::min(options.busy_timeout, longest_wait_for_locks)) {}

void LockWait::throw_if_over() const {
  if (!is_over()) return;
  throw Busy(
      fmt::format("the database {} stayed locked by another process for {} s; see who holds it "
                  "(lsof), or raise the busy timeout",
                  options_.database, std::chrono::duration<double>(options_.busy_timeout).count()));
}

void LockWait::pause() {
  throw_if_over();
  sleep();
}

void LockWait::sleep() {
  const milliseconds most =
      std::min(most_lock_pause, first_lock_pause * (1 << std::min(tries_++, 6)));
  std::this_thread::sleep_for(random_between(most / 2, most));
}

}  // namespace dbcache::store::sqlite
