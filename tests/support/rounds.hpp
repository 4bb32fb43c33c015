#pragma once

#include <algorithm>
#include <cstdlib>

namespace dbcache::test {

/// Whether the tests run under the address or the thread sanitizer, many times slower.
#if defined(__clang__)
inline constexpr bool sanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

inline bool is_soaking() { return std::getenv("DBCACHE_SOAK") != nullptr; }

/// Where a process is killed at one place after the other: each `usually`-th, or each where
/// script/soak runs the test.
inline int rounds_apart(int usually) { return is_soaking() ? 1 : usually; }

/// How often something is done again in the hope of a rare moment: `usually`, or `soaking` times
/// where script/soak runs the test; under sanitizers a twentieth of either, and 3 times at least.
inline int rounds(int usually, int soaking) {
  const int wanted = is_soaking() ? soaking : usually;
  return sanitized ? std::max(3, wanted / 20) : wanted;
}

}  // namespace dbcache::test
