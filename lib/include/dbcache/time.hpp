#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <dbcache/export.hpp>

namespace dbcache {

/// A moment in UTC, to the microsecond.
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

/// Tells the present. Called on the caller's thread, never while a database connection is held, so
/// it may itself use the library. An exception from it ends the call, with nothing changed.
using Clock = std::function<Timestamp()>;

/// The stored form, UTC with six decimals: `2026-01-15T10:30:00.000000`. Text order is time order.
/// Throws InvalidArgument for a moment outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string format_timestamp(Timestamp time);

/// The form people are shown: `2026-01-15T10:30:00`, the fraction cut off.
/// Throws InvalidArgument for a moment outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string format_seconds(Timestamp time);

/// Reads ISO 8601: `YYYY-MM-DD`, alone or followed by `T` or a space and `HH:MM[:SS[.fraction]]`,
/// which `Z` or an offset `+HH:MM`, `+HHMM`, `+HH` may follow. Without an offset the time is UTC;
/// digits past the sixth decimal are cut off. Throws InvalidArgument for anything else, for dates
/// that do not exist, and for moments outside the years 1 to 9999. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT Timestamp parse_timestamp(std::string_view text);

}  // namespace dbcache
