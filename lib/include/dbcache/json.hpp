#pragma once

#include <string>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/databricks.hpp>
#include <dbcache/export.hpp>
#include <dbcache/history.hpp>
#include <dbcache/lease.hpp>
#include <dbcache/move.hpp>
#include <dbcache/options.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/replay.hpp>

/// The public structs as JSON, in the form that `dbcache --json` prints.
namespace dbcache {

/// Each returns a JSON object whose keys are the names of the fields. For rows, these are the names
/// of the documented columns. Times are in the form of format_timestamp; durations are numbers of
/// seconds. In events, problems and paths, U+FFFD replaces bytes that are not UTF-8.
///
/// Those with times throw InvalidArgument for a time outside the years 1 to 9999, which no row of a
/// database has. An event with such a time has the microseconds since 1970 instead.
///
/// CachedClusterInfo has the keys of its cluster beside its own. DatabaseInfo leaves out `name`,
/// which may hold a password. All are thread-safe.
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CachedCluster& cluster);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CachedClusterInfo& info);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const CacheStatistics& statistics);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RegistryEntry& entry);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RecordedEvent& event);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const RowDifference& difference);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const ReplayReport& report);
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const LogHead& head);
/// In these two, `head` is one text: `N:HASH`, as `dbcache verify --head` takes it.
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
/// A cluster of a workspace; `state` is the word of the Clusters API.
[[nodiscard]] DBCACHE_EXPORT boost::json::object to_json(const databricks::Cluster& cluster);

/// Reads a row from an object whose keys are the names of the columns, as `to_json` writes it.
/// Flags may be true, false, 1 or 0. Times are in any form that `parse_timestamp` takes. `id` is
/// ignored. A column that is missing or null has the value of a new CachedCluster. Throws
/// InvalidArgument for a column of the wrong kind. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT CachedCluster read_cached_cluster(const boost::json::object& columns);

/// The value as JSON text on one line, with the keys in their order. Doubles have the form of
/// ECMAScript's Number::toString (ECMA-262, section 6.1.6.1.20). Integers are written in full.
/// Throws InvalidArgument for a number that is not finite, text that is not UTF-8, and more than 64
/// levels. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string write_json(const boost::json::value& value);

}  // namespace dbcache
