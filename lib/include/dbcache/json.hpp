#pragma once

#include <string>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/export.hpp>
#include <dbcache/history.hpp>
#include <dbcache/lease.hpp>
#include <dbcache/move.hpp>
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
/// The heads of these two are one text, `N:HASH`, as `dbcache verify --head` takes it.
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const VerifyReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const MoveReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const DatabaseInfo& info);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const AdoptionReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const Removal& removal);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const ReleaseReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const LeaseInfo& lease);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const ParticipantInfo& participant);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const LeaseReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const OwedTermination& owed);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const SettleReport& report);

/// The row that an object has under the columns' names: as `to_json` writes it, or as a user gives
/// it. Flags may be 0 and 1, times as `parse_timestamp` takes them; `id` is not read. What is
/// missing or null is as in a new CachedCluster. Throws InvalidArgument for a column of the wrong
/// kind. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT CachedCluster read_cached_cluster(const boost::json::object& columns);

/// JSON text with keys in their order and numbers as ECMAScript writes them, on one line. Throws
/// InvalidArgument for numbers that are not finite, for text that is not UTF-8, and for nesting
/// past 64 levels. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string write_json(const boost::json::value& value);

}  // namespace dbcache
