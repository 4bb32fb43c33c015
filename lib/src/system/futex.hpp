#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

// futex(2) on words that processes may share. The kernel wakes those who wait longest first.
namespace dbcache::system {

/// Those who wait may be told apart by bits, so that only those are woken who are meant.
inline constexpr std::uint32_t every_bit = 0xFFFFFFFF;

/// Sleeps while the word is `seen`, until somebody wakes this thread, and `most` at the longest.
/// May return early.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::chrono::nanoseconds most, std::uint32_t bits = every_bit);

/// Wakes as many of those who wait with one of these bits, at most. How many those were.
int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t bits = every_bit);

}  // namespace dbcache::system
