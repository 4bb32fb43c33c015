#include "system/process.hpp"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <ctime>
#include <fstream>
#include <memory>
#include <pwd.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <sys/random.h>

#include <dbcache/errors.hpp>

namespace dbcache::system {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string link_target(const std::string& path) {
  std::array<char, 256> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return size < 0 ? "" : std::string(target.data(), static_cast<std::size_t>(size));
}

/// The folder in /proc of a process of this PID namespace. Nothing if /proc shows another namespace
/// (unshare(1) without --mount-proc), where the same pids are other processes.
std::optional<std::string> folder_of(std::int64_t pid) {
  if (pid == ::getpid()) return "/proc/self";
  if (!proc_shows_own_pid_namespace()) return std::nullopt;
  return fmt::format("/proc/{}", pid);
}

/// A number in /proc/PID/stat.
std::optional<std::int64_t> field_of(std::string_view stat, int number) {
  // The second field is the program's name in parentheses. The name may contain blanks and
  // parentheses, so count fields from the last parenthesis.
  std::size_t at = stat.rfind(')');
  for (int field = 2; field < number && at != std::string::npos; ++field) {
    at = stat.find(' ', at + 1);
  }
  if (at == std::string::npos) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = stat.data() + stat.size();
  if (std::from_chars(stat.data() + at + 1, end, value).ec != std::errc()) return std::nullopt;
  return value;
}

/// Whether it is that of a zombie (its parent has not waited for it yet), unless only its first
/// thread has ended.
bool is_of_ended(std::string_view stat) {
  const std::size_t at = stat.rfind(')');
  if (at == std::string_view::npos || at + 2 >= stat.size()) return false;
  const char state = stat[at + 2];
  return state == 'X' || (state == 'Z' && field_of(stat, 20).value_or(1) <= 1);
}

std::optional<std::int64_t> start_time_in(const std::string& folder) {
  const std::string stat = first_line(folder + "/stat");
  return is_of_ended(stat) ? std::nullopt : field_of(stat, 22);
}

}  // namespace

std::chrono::nanoseconds since_boot() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

ProcessIdentity identify_process(std::int64_t pid) {
  ProcessIdentity identity{pid, std::nullopt, boot_id(), ""};
  if (const auto folder = folder_of(pid)) {
    identity.start_time = start_time_in(*folder);
    identity.pid_namespace = link_target(*folder + "/ns/pid");
  }
  return identity;
}

bool has_ended(std::int64_t pid) {
  if (is_of_ended(first_line(fmt::format("/proc/{}/stat", pid)))) return true;
  // /proc may hide other users' processes (hidepid, proc(5)), which kill(2) does not.
  return ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

ProcessIdentity own_process() {
  // Never freed, since the program's static objects may ask as the process exits; and never
  // replaced, so that no thread needs a lock. So a forked child reads it each time: it has another
  // pid, or is the first process of another namespace.
  static std::atomic<const ProcessIdentity*> known{nullptr};
  const ProcessIdentity* const found = known;
  const std::int64_t pid = ::getpid();
  if (found != nullptr && found->pid == pid && found->pid_namespace == own_pid_namespace()) {
    return *found;
  }
  ProcessIdentity now = identify_process(pid);
  const bool is_complete = now.start_time && !now.boot_id.empty() && !now.pid_namespace.empty();
  if (found == nullptr && is_complete) {
    auto copy = std::make_unique<const ProcessIdentity>(now);
    const ProcessIdentity* none = nullptr;
    if (known.compare_exchange_strong(none, copy.get())) static_cast<void>(copy.release());
  }
  return now;
}

std::string boot_id() { return first_line("/proc/sys/kernel/random/boot_id"); }

bool proc_shows_own_pid_namespace() {
  return link_target("/proc/self") == std::to_string(::getpid());
}

std::string own_pid_namespace() { return link_target("/proc/self/ns/pid"); }

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "";
  return name.data();
}

std::string user_name() {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16384);
  const uid_t user = ::geteuid();
  if (::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(user);
}

std::string program_name() { return program_invocation_short_name; }

std::array<unsigned char, 16> random_128_bits() {
  std::array<unsigned char, 16> bytes{};
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    if (errno == EINTR) continue;
    std::ifstream device("/dev/urandom", std::ios::binary);
    if (device.read(reinterpret_cast<char*>(bytes.data()), bytes.size())) break;
    throw Error("the kernel gave no random bits; allow this process to call getrandom(2)");
  }
  return bytes;
}

}  // namespace dbcache::system
