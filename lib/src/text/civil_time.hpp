#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace dbcache::text {

/// A time as written, before its zone is known.
struct CivilTime {
  std::chrono::local_time<std::chrono::microseconds> local;
  std::optional<std::chrono::minutes> offset;  ///< East of UTC, if written.
  bool has_t = false;  ///< A `T`, not a space, separates date and time of day.
};

/// Reads the forms that `parse_timestamp` takes; nothing for any other text.
std::optional<CivilTime> read_civil_time(std::string_view text);

}  // namespace dbcache::text
