#pragma once

// How often a test repeats what depends on the order in which the machine runs its processes.
namespace dbcache::test {

#if defined(__SANITIZE_THREAD__)
/// The thread sanitizer slows every process 5 to 15 times.
inline constexpr int scale_down = 5;
#else
inline constexpr int scale_down = 1;
#endif

constexpr int rounds(int in_release) { return in_release / scale_down; }

}  // namespace dbcache::test
