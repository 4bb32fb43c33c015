#pragma once

#include <algorithm>

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

/// How often something is done again in the hope of a rare moment: under sanitizers a twentieth.
constexpr int rounds(int usual) { return sanitized ? std::max(3, usual / 20) : usual; }

}  // namespace dbcache::test
