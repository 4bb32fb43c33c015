#include "cli/process/system_call.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <dbcache/errors.hpp>

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

/// Container runtimes refuse system calls that they do not know with EPERM, and sandboxes and old
/// kernels with ENOSYS.
bool is_refused(int error) { return error == EPERM || error == ENOSYS; }

// ---- Processes, where pidfd_open(2) is refused

std::atomic<bool> watches_folders{false};
constexpr std::chrono::milliseconds between_looks_at_folders{50};

bool shows_own_processes() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self", error);
  return !error && self == std::to_string(::getpid());
}

Descriptor open_folder_of_process(int pid) {
  if (!shows_own_processes()) {
    throw Error(
        "this container refuses pidfd_open(2), and /proc does not show its processes; allow that "
        "system call (a newer container runtime does), or mount /proc");
  }
  const std::string path = fmt::format("/proc/{}", pid);
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 && errno == ENOENT) errno = ESRCH;
  watches_folders = true;
  return Descriptor(checked(folder, "open"));
}

bool is_folder_of_process(int descriptor) {
  struct statfs status {};
  return descriptor >= 0 && ::fstatfs(descriptor, &status) == 0 &&
         status.f_type == PROC_SUPER_MAGIC;
}

bool has_folder(std::span<const pollfd> descriptors) {
  return std::any_of(descriptors.begin(), descriptors.end(),
                     [](const pollfd& one) { return is_folder_of_process(one.fd); });
}

/// A zombie has ended, unless only its first thread has.
bool has_ended(int folder) {
  const Descriptor file(::openat(folder, "stat", O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text{};
  const ssize_t size = file.is_open() ? ::read(file.number(), text.data(), text.size()) : -1;
  // Whatever else fails says nothing of the process.
  if (size < 0) return errno == ENOENT || errno == ESRCH;
  if (size == 0) return true;
  const std::string_view stat(text.data(), static_cast<std::size_t>(size));
  // The name may hold any character, so count from its end: field 3 follows, the state. Field 20 is
  // the number of threads.
  std::istringstream fields{std::string(stat.substr(std::min(stat.rfind(')') + 1, stat.size())))};
  std::string state;
  std::string field;
  fields >> state;
  for (int number = 4; number <= 20; ++number) fields >> field;
  return state == "X" || (state == "Z" && (field == "0" || field == "1"));
}

/// A folder cannot be polled, so look from time to time.
void wait_with_folders(std::span<pollfd> descriptors, std::optional<steady_clock::time_point> end) {
  std::vector<pollfd> polled(descriptors.begin(), descriptors.end());
  for (pollfd& one : polled) {
    if (is_folder_of_process(one.fd)) one.fd = -1;
  }
  for (;;) {
    const auto look = steady_clock::now() + between_looks_at_folders;
    const bool is_last = end && *end <= look;
    const int ready =
        ::poll(polled.data(), polled.size(), milliseconds_until(is_last ? *end : look));
    if (ready < 0 && errno != EINTR) checked(ready, "poll");
    bool found = false;
    for (std::size_t at = 0; at < polled.size(); ++at) {
      pollfd& given = descriptors[at];
      const bool is_folder = given.fd >= 0 && polled[at].fd < 0;
      given.revents = ready > 0 ? polled[at].revents : short{0};
      if (is_folder) given.revents = has_ended(given.fd) ? POLLIN : short{0};
      found = found || given.revents != 0;
    }
    if (found || (end && steady_clock::now() >= *end)) return;
  }
}

// ---- Descriptors, where close_range(2) is refused

std::vector<int> open_descriptors(int from, int to) {
  std::vector<int> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), last;
       !error && entry != last; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int number = -1;
    std::from_chars(name.data(), name.data() + name.size(), number);
    if (number >= from && number <= to) found.push_back(number);
  }
  if (!error) return found;
  // Without /proc. The limit may be a billion, and then such a number is hardly in use.
  constexpr long most = 1 << 20;
  const long limit = ::sysconf(_SC_OPEN_MAX);
  const auto last = static_cast<int>(std::min<long>(to, limit < 0 ? most : std::min(limit, most)));
  found.clear();
  for (int number = from; number <= last; ++number) found.push_back(number);
  return found;
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
  const auto opened = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (opened < 0 && is_refused(errno)) return open_folder_of_process(pid);
  return Descriptor(checked(opened, "pidfd_open"));
}

void close_descriptors(int from, int to) {
  if (from > to) return;
  if (::close_range(static_cast<unsigned>(from), static_cast<unsigned>(to), 0) == 0) return;
  for (const int number : open_descriptors(from, to)) ::close(number);
}

Descriptor make_unnamed_file() {
  const int in_memory = ::memfd_create("dbcache-input", MFD_CLOEXEC);
  if (in_memory >= 0 || !is_refused(errno)) return Descriptor(checked(in_memory, "memfd_create"));
  std::error_code ignored;
  for (const std::string& directory :
       {std::filesystem::temp_directory_path(ignored).string(), std::string("/tmp"),
        std::string("/var/tmp"), std::string("/dev/shm")}) {
    std::string path = directory + "/dbcache-input-XXXXXX";
    const int file = ::mkostemp(path.data(), O_CLOEXEC);
    if (file < 0) continue;
    ::unlink(path.c_str());
    return Descriptor(file);
  }
  throw Error(
      "this container refuses memfd_create(2), and there is no directory for a temporary "
      "file; set TMPDIR to one");
}

void wait_for(std::span<pollfd> descriptors, std::optional<steady_clock::time_point> end) {
  if (watches_folders && has_folder(descriptors)) return wait_with_folders(descriptors, end);
  for (;;) {
    const int ready = ::poll(descriptors.data(), descriptors.size(), milliseconds_until(end));
    if (ready > 0 || (ready == 0 && end && steady_clock::now() >= *end)) return;
    if (ready < 0 && errno != EINTR) checked(ready, "poll");
  }
}

}  // namespace dbcache::cli
