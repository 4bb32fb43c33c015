#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace dbcache::system {

/// Names one process for good, where the pid alone would be given away again.
struct ProcessIdentity {
  std::int64_t pid = 0;
  /// In clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); nothing where it is not
  /// known.
  std::optional<std::int64_t> start_time;
  std::string boot_id;        ///< As `system::boot_id` has it.
  std::string pid_namespace;  ///< The link /proc/PID/ns/pid, as `pid:[4026531836]`.

  bool operator==(const ProcessIdentity&) const = default;
};

/// What is known of the process `pid` of this PID namespace.
ProcessIdentity identify_process(std::int64_t pid);

/// Whether /proc is of the PID namespace of this process: else it tells of no process but this one.
bool proc_shows_own_pid_namespace();

/// Of this process, as ProcessIdentity has it.
std::string own_pid_namespace();

/// Of the kernel that runs now: another after each boot. Empty where it is not told.
std::string boot_id();

std::string host_name();
std::string user_name();
std::string program_name();

/// 128 bits from the kernel (getrandom(2)).
std::array<unsigned char, 16> random_128_bits();

}  // namespace dbcache::system
