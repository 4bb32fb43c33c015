#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace dbcache::text {

/// A time as written, before it is known which zone it is in.
struct CivilTime {
  std::chrono::local_time<std::chrono::microseconds> local;
  std::optional<std::chrono::minutes> offset;  ///< East of UTC, where one is written.
  bool has_t = false;  ///< Date and time of day are parted by a `T`, not a space.
};

/// Reads the forms of `parse_timestamp`; nothing for anything else.
std::optional<CivilTime> read_civil_time(std::string_view text);

}  // namespace dbcache::text
