#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <dbcache/time.hpp>

namespace dbcache::commands {

/// A time zone by name (tz database), by offset (`+02:00`), or this machine's.
class Zone {
 public:
  /// Empty: this machine's (TZ, else /etc/localtime), as the C library reads it. Throws
  /// InvalidArgument for an unknown name. If this machine's zone cannot be found, `to_utc` throws.
  explicit Zone(const std::string& name);

  [[nodiscard]] const std::string& name() const { return name_; }

  /// A time that a change of the clock left out, or that came twice, is the first one it may be.
  /// Throws InvalidArgument that names the remedy if this is the machine's zone, and the C library
  /// too would take UTC in its place, because it cannot find it.
  [[nodiscard]] Timestamp to_utc(std::chrono::local_time<std::chrono::microseconds> local) const;

 private:
  std::string name_;
  struct Rules;
  std::shared_ptr<const Rules> rules_;
};

/// Whether TZ may hold this text as a rule in place of a name: `CET-1CEST,M3.5.0,M10.5.0/3`
/// (POSIX.1-2017, Base Definitions, 8.3).
bool is_posix_rule(std::string_view text);

}  // namespace dbcache::commands
