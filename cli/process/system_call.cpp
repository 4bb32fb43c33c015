#include "cli/process/system_call.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <sys/syscall.h>

namespace dbcache::cli {
namespace {

using std::chrono::steady_clock;

int milliseconds_until(const std::optional<steady_clock::time_point>& end) {
  if (!end) return -1;
  // Compare times, not counts: a far end would overflow.
  const auto now = steady_clock::now();
  constexpr std::chrono::milliseconds longest{INT_MAX / 2};
  if (*end <= now) return 0;
  if (*end - now > longest) return static_cast<int>(longest.count());
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*end - now).count());
}

}  // namespace

int checked(int result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), call);
  return result;
}

Descriptor make_eventfd() {
  return Descriptor(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
}

void raise_eventfd(const Descriptor& descriptor) noexcept {
  // It fails only if it is raised already.
  [[maybe_unused]] const int ignored = ::eventfd_write(descriptor.number(), 1);
}

Descriptor open_process(int pid) {
  // Called by number: before 2.37, glibc's header for it does not work in C++.
  return Descriptor(checked(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open"));
}

void wait_for(std::span<pollfd> descriptors, std::optional<steady_clock::time_point> end) {
  for (;;) {
    const int ready = ::poll(descriptors.data(), descriptors.size(), milliseconds_until(end));
    if (ready > 0 || (ready == 0 && end && steady_clock::now() >= *end)) return;
    if (ready < 0 && errno != EINTR) checked(ready, "poll");
  }
}

}  // namespace dbcache::cli
