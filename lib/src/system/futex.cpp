#include "system/futex.hpp"

#include <unistd.h>

#include <linux/futex.h>
#include <sys/syscall.h>

namespace dbcache::system {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
                  sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t),
              "the kernel compares the word itself");

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::chrono::nanoseconds most, std::uint32_t bits) {
  if (most <= std::chrono::nanoseconds{0}) return;
  // FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock, which steady_clock is.
  const auto end = std::chrono::steady_clock::now().time_since_epoch() + most;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(end);
  const timespec timeout{seconds.count(), (end - seconds).count()};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, seen, &timeout, nullptr, bits);
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t bits) {
  return static_cast<int>(
      ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, bits));
}

}  // namespace dbcache::system
