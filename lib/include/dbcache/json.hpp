#pragma once

#include <string>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/export.hpp>
#include <dbcache/history.hpp>
#include <dbcache/options.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/replay.hpp>

/// The structs as JSON, as `dbcache --json` prints them: the keys are the fields' names, which are
/// the documented columns'; times are in the stored form, durations in seconds. What is no UTF-8 is
/// replaced by U+FFFD in events, problems and paths. Those of rows throw InvalidArgument for times
/// outside the years 1 to 9999, which no row of a database has; all are thread-safe.
namespace dbcache {

[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CachedCluster& cluster);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CachedClusterInfo& info);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CacheStatistics& statistics);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RegistryEntry& entry);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RecordedEvent& event);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RowDifference& difference);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const ReplayReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const LogHead& head);
/// Its head as one text, `N:HASH`, as `dbcache verify --head` takes it.
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const VerifyReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const DatabaseInfo& info);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const AdoptionReport& report);

/// JSON text with keys in their order and numbers as ECMAScript writes them, on one line. Throws
/// InvalidArgument for numbers that are not finite, for text that is not UTF-8, and for nesting
/// past 64 levels. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string write_json(const boost::json::value& value);

}  // namespace dbcache
