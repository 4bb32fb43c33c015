#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

// futex(2) on words that processes may share. The kernel wakes the longest waiter first.
namespace dbcache::system {

/// Matches all waiters. Other bits select the waiters to wake.
inline constexpr std::uint32_t every_bit = 0xFFFFFFFF;

/// Sleeps while the word is `seen`, until this thread is woken or `most` has passed. May return
/// early.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::chrono::nanoseconds most, std::uint32_t bits = every_bit);

/// Wakes at most `count` waiters that wait with one of these bits. Returns how many it woke.
int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t bits = every_bit);

}  // namespace dbcache::system
