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
  // Compared as times: far ends would not fit.
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

Descriptor make_event() {
  return Descriptor(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
}

void raise_event(const Descriptor& event) noexcept {
  // It can only fail where it is raised already.
  [[maybe_unused]] const int ignored = ::eventfd_write(event.number(), 1);
}

Descriptor open_process(int pid) {
  // By its number: glibc's header of it is not for C++ before 2.37.
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
