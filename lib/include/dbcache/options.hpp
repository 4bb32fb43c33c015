#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <dbcache/time.hpp>

namespace dbcache {

/// How much of what calls have acknowledged a power loss may take.
enum class Durability {
  full,  ///< Nothing. A change is on disk when its call returns.
  /// The last moments. The database stays consistent. Cached clusters, accesses, use counts,
  /// removals, noted uses and places in runs may be lost. Registrations, status changes, leases and
  /// terminations are on disk when their calls return.
  relaxed,
};

/// Where a database is and how the library uses it.
struct Options {
  /// The path of a SQLite database, or the URL of a PostgreSQL one. libpq defines the URL
  /// (`postgresql://...`); its PG* variables and .pgpass apply. Empty: $DBCACHE_DATABASE, else
  /// `Environment/Databricks/cluster_cache.db` in the current directory.
  std::string database{};
  /// The schema in a PostgreSQL database. Several teams can share a database, each with a schema.
  /// Empty: $DBCACHE_SCHEMA, else `dbcache`. At most 63 bytes, since PostgreSQL cuts longer names
  /// (its NAMEDATALEN is 64). SQLite ignores it.
  std::string schema{};
  /// How long after caching a cluster expires: 0 to 100 years.
  std::chrono::microseconds default_expiry = std::chrono::hours{1};
  Durability durability = Durability::full;
  /// How long a call waits for a locked database before it throws Busy; 0 or more. A call waits as
  /// long for a server that is out of reach, and then throws StorageFailure.
  std::chrono::milliseconds busy_timeout = std::chrono::seconds{30};
  /// The caller's name in the log: a test, a CI job. Cut at 1 KiB. Empty: $DBCACHE_LABEL, else
  /// $PYTEST_CURRENT_TEST.
  std::string label{};
  /// Empty: the engine's clock, which is this machine's on SQLite and the server's on PostgreSQL.
  Clock clock{};
  /// The zone of times with a `T` and no offset in a database that the Python system made. It is a
  /// name of the tz database, or an offset such as `+02:00`. Empty: this machine's zone.
  std::string adoption_timezone{};
};

/// Where a database is, or would be.
struct DatabaseLocation {
  std::string path;  ///< An absolute path; on PostgreSQL the URL, without passwords.
  /// A value for Options::database that works in any directory. It may hold a password, so do not
  /// show it.
  std::string name;
  std::string schema;  ///< On PostgreSQL; empty on SQLite.
};

/// Where the database is and how large.
struct DatabaseInfo {
  std::string path;  ///< An absolute path; on PostgreSQL the URL, without passwords.
  /// A value for Options::database that works in any directory. It may hold a password, so do not
  /// show it.
  std::string name;
  std::string schema;                ///< On PostgreSQL; empty on SQLite.
  bool exists = false;               ///< If not, the fields below keep their defaults.
  std::uintmax_t database_size = 0;  ///< In bytes. On PostgreSQL: of the tables and indexes.
  bool wal_exists = false;           ///< SQLite's write-ahead log, the file `-wal`.
  std::uintmax_t wal_size = 0;       ///< In bytes.
  bool shm_exists = false;           ///< SQLite's index of it, the file `-shm`.
  std::uintmax_t shm_size = 0;       ///< In bytes.
  std::int64_t schema_version = 0;   ///< The number of the newest migration.
  std::int64_t events = 0;           ///< How many events the log has.
  std::int64_t last_position = 0;    ///< The position of the last event.
  /// Why the database takes no changes, and what to do: its log was moved, or is being moved
  /// (<dbcache/move.hpp>). Empty if it takes changes.
  std::optional<std::string> closed{};
};

/// Whether `optimize_database` reclaims space too.
enum class Vacuum {
  no,
  /// SQLite: rewrites the file and gives free pages back to the file system. Writers wait.
  /// PostgreSQL: VACUUM, which makes space free for reuse and stops no writers.
  yes,
};

/// How the library adopted a database of the documented Python system: it took the rows over into
/// the log when it first opened the database.
struct AdoptionReport {
  std::int64_t clusters = 0;          ///< Rows of `clusters`.
  std::int64_t registry_entries = 0;  ///< Rows of `shared_cluster_registry`.
  std::string timezone;               ///< The zone of times with a `T` and no offset.
  std::vector<std::string> notes;     ///< The values that could not be kept as they were.
};

}  // namespace dbcache
