#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace dbcache::system {

/// Identifies a process for all time, although the system reuses pids.
struct ProcessIdentity {
  std::int64_t pid = 0;
  /// In clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); nothing if unknown.
  std::optional<std::int64_t> start_time;
  std::string boot_id;  ///< From `system::boot_id`.
  std::string
      pid_namespace;  ///< The target of the link /proc/PID/ns/pid, such as `pid:[4026531836]`.

  bool operator==(const ProcessIdentity&) const = default;
};

/// A time by a clock that nobody sets: it counts from the kernel's boot (CLOCK_BOOTTIME), and not
/// beyond the next one.
struct BootTime {
  std::string boot_id;
  std::chrono::nanoseconds since_boot{};
};

/// The present.
std::chrono::nanoseconds since_boot();

/// What is known of the process `pid` of this PID namespace.
ProcessIdentity identify_process(std::int64_t pid);

/// Whether there is no process `pid` in this PID namespace, or only what its parent has not waited
/// for. False where that cannot be told.
bool has_ended(std::int64_t pid);

/// What is known of this process. Read once, except in a forked child.
ProcessIdentity own_process();

/// Whether /proc shows the PID namespace of this process. If not, of all processes it can be asked
/// only about this one.
bool proc_shows_own_pid_namespace();

/// The PID namespace of this process, as in ProcessIdentity.
std::string own_pid_namespace();

/// The id of this boot of the kernel; empty if unknown.
std::string boot_id();

std::string host_name();
std::string user_name();
std::string program_name();

/// 128 bits from the kernel (getrandom(2)).
std::array<unsigned char, 16> random_128_bits();

}  // namespace dbcache::system
