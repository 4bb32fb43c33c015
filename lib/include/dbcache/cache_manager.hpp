#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <dbcache/cluster.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/export.hpp>
#include <dbcache/history.hpp>
#include <dbcache/options.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/replay.hpp>

namespace dbcache {

/// The documented operations on one database: the cached clusters, the registry of shared clusters
/// and the event log.
///
/// Every change is an event in the log. The event and the rows that it changes are committed in one
/// transaction. When a call has returned, its change is on disk (but see Durability::relaxed).
///
/// Thread-safe: several threads may call any members at once, except to move from, assign to or
/// destroy the manager. A manager that was moved from may only be assigned to or destroyed.
///
/// Safe over fork(): parent and child may both use a manager that was made before the fork. fork()
/// waits up to 5 seconds for the calls of other threads. If one runs longer, every call of the
/// child throws StorageFailure.
///
/// Errors: a call that cannot do its work throws an Error (<dbcache/errors.hpp>) and changes
/// nothing. Each member names the errors of its own. Any call may throw Busy, CorruptDatabase,
/// NewerSchema and StorageFailure too, and any call that may change something DatabaseMoved.
///
/// An id or a hash is 1 to 255 bytes of UTF-8 without NUL. Any other throws InvalidArgument.
///
/// Reading never creates a database: a missing one reads as empty. Nor does a removal that finds
/// nothing to remove.
///
/// Calls read environment variables, so no other thread may call setenv() meanwhile.
class DBCACHE_EXPORT CacheManager {
 public:
  /// Opens nothing yet. The first change creates the directories and the database. Throws
  /// InvalidArgument for options that no database can have. Throws StorageFailure if PostgreSQL's
  /// client library is needed and missing, or if the current directory is needed and unreadable.
  explicit CacheManager(Options options = {});
  ~CacheManager();
  CacheManager(CacheManager&&) noexcept;
  CacheManager& operator=(CacheManager&&) noexcept;

  // ---- The cached clusters

  /// Returns the newest active cluster that has not expired. If there is none and
  /// DATABRICKS_CLUSTER_ID is set, returns a row for that cluster with `id` 0, which expires after
  /// the default expiry. Else returns nothing.
  [[nodiscard]] std::optional<CachedCluster> load_cluster_cache() const;

  /// Returns what `dbcache status` shows: the cluster of load_cluster_cache, else the newest active
  /// cluster, which has expired, else nothing.
  [[nodiscard]] std::optional<CachedClusterInfo> get_cached_cluster_info() const;

  /// Returns whether the cluster has an id, is active and has not expired. It looks at the struct
  /// and not at the rows. The present is that of Options::clock.
  [[nodiscard]] bool is_cluster_cache_valid(const CachedCluster& cluster) const;

  /// Caches a cluster as the active one and deactivates the others. A cluster that was cached
  /// before gets a new row, and its stream goes on. It expires the default expiry from now.
  /// `created_at` is the configuration's, else now. `host` is the configuration's, else
  /// DATABRICKS_HOST. A pending termination of the cluster is cancelled.
  ///
  /// `[redacted]` replaces secrets in the configuration before anything is stored. Secrets are the
  /// values of the keys that config_hash names, and the value of DATABRICKS_TOKEN.
  ///
  /// Throws InvalidArgument for a configuration over 1 MiB or 32 levels, and for documented keys of
  /// the wrong kind. Throws Busy if a termination of the cluster has begun.
  void cache_new_cluster(std::string_view cluster_id, const ClusterConfig& config = {});

  /// Caches a cluster with the given columns. `id` is ignored. A `created_at` or `last_accessed` of
  /// zero means now; an `expiry_time` of zero means the default expiry from now. An active cluster
  /// deactivates the others. A pending termination of the cluster is cancelled.
  ///
  /// Throws InvalidArgument for negative counts, texts that are not UTF-8 or exceed 64 KiB, and
  /// times outside the years 1 to 9999. Throws Busy if a termination of the cluster has begun.
  void save_cluster_cache(const CachedCluster& cluster);

  /// The same with the columns as JSON, as read_cached_cluster reads them. Other keys are kept in
  /// the log, like the configuration of cache_new_cluster. Throws as that call does, too.
  void save_cluster_cache(const ClusterConfig& columns);

  /// Counts an access to an active cluster: adds 1 to `access_count` and sets `last_accessed` to
  /// now. Returns false, and appends no event, if no active cluster has this id.
  bool update_cluster_access(std::string_view cluster_id);

  /// Returns the rows of `clusters` that match the filter, newest first.
  [[nodiscard]] std::vector<CachedCluster> get_all_clusters(const ClusterFilter& filter = {}) const;

  /// Returns the rows that satisfy an SQL condition on the columns, newest first. An example:
  /// `num_workers > 1 AND cluster_name LIKE 'test%'`.
  ///
  /// On every engine the condition is an expression of SQLite
  /// (https://www.sqlite.org/lang_expr.html). It runs over a copy of the rows. 'now' in its
  /// functions is this machine's time. Times compare as moments, with a space or a `T` in them.
  ///
  /// Throws InvalidArgument for a condition over 64 KiB or one that is not a single expression. The
  /// same for one that reads other tables, or calls functions that do more than compute. The same
  /// for one that takes longer than 3 seconds or 50 million steps of SQLite.
  [[nodiscard]] std::vector<CachedCluster> get_clusters_where(std::string_view condition) const;

  /// Returns figures over the rows of `clusters`, and the size of the database.
  [[nodiscard]] CacheStatistics get_cache_statistics() const;

  /// Removes the rows of expired clusters, except those that a live lease holds. Returns how many.
  /// If `acquire` created the cluster, its registry entry is removed too, and a termination of the
  /// cluster becomes pending (SharedClusters::owed).
  std::size_t cleanup_expired_clusters();
  /// The same, with a choice for clusters that a live lease holds.
  Removal cleanup_expired_clusters(HeldClusters held);

  /// Removes the row of a cluster that was terminated. If `acquire` created the cluster, its
  /// registry entry is removed and the leases on it are lost. A pending termination is cancelled.
  /// Returns false if there was none of these.
  bool remove_terminated_cluster(std::string_view cluster_id);

  /// Removes every row of `clusters`, except those that a live lease holds. Returns how many. The
  /// registry and the log stay, but the entries of clusters that `acquire` created are removed as
  /// in cleanup_expired_clusters.
  std::size_t clear_cluster_cache();
  /// The same, with a choice for clusters that a live lease holds.
  Removal clear_cluster_cache(HeldClusters held);

  // ---- The shared clusters

  /// Makes the registry entry of a configuration that has none, with status creating and usage
  /// count 1. `worker_pid` is the process that creates the cluster. Returns true if this call made
  /// the entry or if the entry is creating or ready; false if the entry has failed. Throws
  /// InvalidArgument for a pid below 1.
  bool register_shared_cluster_creation(std::string_view config_hash, std::int64_t worker_pid);

  /// The same, with more in the result: for one entry, `created` is true for one caller over all
  /// processes.
  Registration register_or_join_shared_cluster(std::string_view config_hash,
                                               std::int64_t worker_pid);

  /// Returns whether there is an entry that is creating or ready.
  [[nodiscard]] bool can_join_shared_cluster_creation(std::string_view config_hash) const;

  /// Changes the status of an entry, and the other columns of `details`. Secrets in the error
  /// message are replaced as in cache_new_cluster. Status `ready` cancels a pending termination of
  /// the cluster.
  ///
  /// Throws NotFound for an unknown hash, and InvalidArgument for `ready` if neither `details` nor
  /// the entry has a cluster id. Throws Busy while a live lease or creator holds the entry, and for
  /// `ready` if a termination of the cluster has begun.
  void update_shared_cluster_status(std::string_view config_hash, RegistryStatus status,
                                    const StatusDetails& details = {});

  /// Returns the entry of a configuration, or nothing for an unknown hash.
  [[nodiscard]] std::optional<RegistryEntry> get_shared_cluster_info(
      std::string_view config_hash) const;

  /// Adds a documented use to an entry. Returns the new usage count. For an unknown hash it returns
  /// 0 and appends no event.
  std::int64_t increment_shared_cluster_usage(std::string_view config_hash);

  /// Takes a documented use off an entry. Returns the new usage count. Leases are not taken off:
  /// only their holders end them. It appends no event if no documented use is left, or for an
  /// unknown hash, for which it returns 0.
  std::int64_t decrement_shared_cluster_usage(std::string_view config_hash);

  /// Removes an entry. Returns true if there was none too, so that teardown can run twice. Returns
  /// false if a live lease or creator holds the entry. If `acquire` created its cluster, the
  /// cluster's row is removed too, and its termination becomes pending, unless another entry has
  /// it.
  bool cleanup_shared_cluster_registry(std::string_view config_hash);
  /// The same, with a choice for an entry that a live lease or creator holds.
  Removal cleanup_shared_cluster_registry(std::string_view config_hash, HeldClusters held);

  /// Removes every entry, except those that a live lease or creator holds, in one transaction.
  /// Clusters that `acquire` created are treated as in cleanup_shared_cluster_registry. Returns how
  /// many entries were removed.
  std::size_t clear_shared_cluster_registry();
  /// The same, with a choice for entries that a live lease or creator holds.
  Removal clear_shared_cluster_registry(HeldClusters held);

  /// Returns all entries, newest first.
  [[nodiscard]] std::vector<RegistryEntry> get_all_shared_clusters() const;

  // ---- The log

  /// Returns the events that match the query, each with the changes it made to its row. Throws
  /// InvalidArgument for a type that is not an event's; docs/log-format.md lists the types.
  [[nodiscard]] std::vector<RecordedEvent> history(const HistoryQuery& query = {}) const;

  /// Returns the events at `from_position` and after it, oldest first. If there are none yet, it
  /// sleeps until there is one. Ask for the last one's position + 1 next. `effect` and `changes`
  /// keep their defaults; only history sets them.
  ///
  /// Returns nothing after the timeout. Throws Cancelled when stopped, and InvalidArgument for a
  /// position below 1 or a limit of 0.
  [[nodiscard]] std::vector<RecordedEvent> wait_for_events(std::int64_t from_position,
                                                           const WatchOptions& options = {}) const;

  /// Rebuilds the projected tables from the log in one transaction, or compares them with it. It
  /// checks every hash on the way, and throws CorruptDatabase for a log that does not verify.
  ReplayReport replay(const ReplayOptions& options = {});

  /// Checks every hash, that no position or version is missing, and the kept head if one is given.
  /// Positions may be missing on PostgreSQL, and in the part of a log that was moved from there.
  /// Throws InvalidArgument for a kept head of fewer than 0 events.
  [[nodiscard]] VerifyReport verify(const VerifyOptions& options = {}) const;

  // ---- The database

  /// Creates the database, or migrates it to the schema of this version. Every call that writes
  /// does so too. Call it as the owner of a server's schema if the roles that write may not create
  /// one.
  void create_database();

  /// Refreshes the planner's statistics. On SQLite it also moves the WAL into the database file and
  /// truncates it, and throws Busy if readers prevent that for Options::busy_timeout. On PostgreSQL
  /// only the owner can optimize the tables; for other roles the library logs a warning. Does
  /// nothing if there is no database.
  void optimize_database(Vacuum vacuum = Vacuum::no);

  /// Returns where the database is, how large it is, and whether it takes changes.
  [[nodiscard]] DatabaseInfo get_database_info() const;

  /// Returns where the database is, or would be. It opens nothing. The location is fixed when the
  /// manager is made, so a later chdir() does not change it.
  [[nodiscard]] DatabaseLocation database_location() const;

  /// Returns what this manager took over when it opened a database of the Python system, or nothing
  /// if it opened no such database.
  [[nodiscard]] std::optional<AdoptionReport> adoption() const;

 private:
  friend class SharedClusters;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dbcache
