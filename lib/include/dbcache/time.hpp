#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <dbcache/export.hpp>

namespace dbcache {

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00.
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

/// Returns the present. The library calls it on the caller's thread, and from several threads at
/// once if several threads call the library. No database connection is held meanwhile, so the clock
/// may use the library itself. An exception from it ends the call, with nothing changed.
using Clock = std::function<Timestamp()>;

/// The stored form: UTC with six decimals, `2026-01-15T10:30:00.000000`. Text order is time order.
/// Throws InvalidArgument for a moment outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string format_timestamp(Timestamp time);

/// The form for people: UTC in seconds, `2026-01-15T10:30:00`. The fraction is cut off.
/// Throws InvalidArgument for a moment outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string format_seconds(Timestamp time);

/// Parses a time in ISO 8601: `YYYY-MM-DD`, alone or followed by `T` or a space and
/// `HH:MM[:SS[.fraction]]`. `Z` or an offset (`+HH:MM`, `+HHMM` or `+HH`) may follow the time of
/// day. A time without an offset is UTC. Digits past the sixth decimal are cut off.
///
/// Throws InvalidArgument for any other text, for a date that does not exist, and for a moment
/// outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT Timestamp parse_timestamp(std::string_view text);

}  // namespace dbcache
