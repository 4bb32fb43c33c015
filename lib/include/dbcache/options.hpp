#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <dbcache/time.hpp>

namespace dbcache {

/// What a call that has returned promises about a power loss.
enum class Durability {
  full,  ///< Everything acknowledged is on disk.
  /// No corruption, but the last moments may be lost: cached clusters, accesses and use counts,
  /// removals, who uses a cluster or takes part in a run. Registrations, status changes, leases and
  /// terminations are on disk even so.
  relaxed,
};

struct Options {
  /// Path of a SQLite database, or URL of a PostgreSQL one (`postgresql://...`, as libpq takes it,
  /// with the PG* variables and .pgpass). Empty: $DBCACHE_DATABASE, else
  /// `Environment/Databricks/cluster_cache.db` under the current directory.
  std::string database{};
  /// Schema of a PostgreSQL database, so that several teams share one. Empty: $DBCACHE_SCHEMA, else
  /// `dbcache`. Not used with SQLite.
  std::string schema{};
  std::chrono::microseconds default_expiry = std::chrono::hours{1};  ///< 0 to 100 years.
  Durability durability = Durability::full;
  std::chrono::milliseconds busy_timeout = std::chrono::seconds{30};
  /// Who calls, for the log: a test's name, a CI job. Empty: $DBCACHE_LABEL, else
  /// $PYTEST_CURRENT_TEST.
  std::string label{};
  Clock clock{};  ///< Empty: the engine's (this machine's on SQLite, else the server's).
  /// The zone of times with a `T` and no offset in a database that the Python system made: a name
  /// of the tz database, or an offset such as `+02:00`. Empty: this machine's.
  std::string adoption_timezone{};
};

/// Where a database is, or would be.
struct DatabaseLocation {
  std::string path;  ///< Absolute; of a PostgreSQL database its URL, without passwords.
  /// What Options::database takes to lead here from any directory. May hold a password: not for
  /// eyes.
  std::string name;
  std::string schema;  ///< Of a PostgreSQL database; empty on SQLite.
};

/// Where the database is and how large.
struct DatabaseInfo {
  std::string path;  ///< Absolute; of a PostgreSQL database its URL, without passwords.
  /// What Options::database takes to lead here from any directory. May hold a password: not for
  /// eyes.
  std::string name;
  std::string schema;  ///< Of a PostgreSQL database; empty on SQLite.
  bool exists = false;
  std::uintmax_t database_size = 0;  ///< Bytes, as are the others.
  bool wal_exists = false;
  std::uintmax_t wal_size = 0;
  bool shm_exists = false;
  std::uintmax_t shm_size = 0;
  std::int64_t schema_version = 0;
  std::int64_t events = 0;         ///< The log's size: how many events.
  std::int64_t last_position = 0;  ///< Of its last event.
  /// Why it takes no changes, and what to do: its log is being moved, or was
  /// (<dbcache/move.hpp>). Empty where it takes them.
  std::optional<std::string> closed{};
};

/// Whether `optimize_database` rewrites the file too.
enum class Vacuum {
  no,
  yes,  ///< Gives free pages back to the file system; stops writers meanwhile.
};

/// What opening a database of the documented Python system took over into the log.
struct AdoptionReport {
  std::int64_t clusters = 0;
  std::int64_t registry_entries = 0;
  std::string timezone;            ///< What times with a `T` and no offset were read in.
  std::vector<std::string> notes;  ///< What could not be taken as it was, row by row.
};

}  // namespace dbcache
