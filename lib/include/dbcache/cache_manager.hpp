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

/// The documented operations over one database. Every change is an event in the log, committed in
/// the same transaction as the rows it changes; a call that returned is on disk.
///
/// Thread-safe: all members may be called from several threads at once. Safe over fork(): parent
/// and child may both go on using a manager made before it. A call that cannot do its work throws
/// an Error and changes nothing; beside those named, any call may throw Busy, CorruptDatabase,
/// NewerSchema and StorageFailure, and any that may change something DatabaseMoved.
///
/// An id or hash is 1 to 255 bytes of UTF-8 without NUL; InvalidArgument otherwise. Reading never
/// creates a database: a missing one reads as empty. Calls read environment variables, and so may
/// not run beside setenv(). A manager that was moved from may only be assigned to or destroyed.
class DBCACHE_EXPORT CacheManager {
 public:
  /// Opens nothing yet: the first change creates directories and database. Throws InvalidArgument
  /// for options that no database could have.
  explicit CacheManager(Options options = {});
  ~CacheManager();
  CacheManager(CacheManager&&) noexcept;
  CacheManager& operator=(CacheManager&&) noexcept;

  // ---- The cached clusters

  /// The newest active cluster that has not expired. Where there is none and DATABRICKS_CLUSTER_ID
  /// is set, a stand-in for it with id 0, valid for the default expiry.
  [[nodiscard]] std::optional<CachedCluster> load_cluster_cache() const;

  /// What `status` shows: the cluster that load_cluster_cache gives, else the newest active one
  /// although it has expired.
  [[nodiscard]] std::optional<CachedClusterInfo> get_cached_cluster_info() const;

  /// Whether it is named, active, and expires after the present. Asks the struct, not the database.
  [[nodiscard]] bool is_cluster_cache_valid(const CachedCluster& cluster) const;

  /// Caches a cluster as the active one; the others are deactivated. An id cached before gets a new
  /// row, and its history goes on. Expiry is now plus the default; `created_at` is the
  /// configuration's, else now; `host` falls back to DATABRICKS_HOST. Secrets in the configuration
  /// become a mark before anything is stored. Throws InvalidArgument for a configuration over 1 MiB
  /// and for keys of the wrong kind.
  void cache_new_cluster(std::string_view cluster_id, const ClusterConfig& config = {});

  /// Caches a cluster with the columns given. `id` is not taken; created_at and last_accessed left
  /// at zero mean now, expiry_time left at zero now plus the default. Deactivates the others if it
  /// is active.
  void save_cluster_cache(const CachedCluster& cluster);

  /// The same with the columns as JSON (`read_cached_cluster`). What is given beside them is kept
  /// in the log, as the configuration of cache_new_cluster is, and throws as that does.
  void save_cluster_cache(const ClusterConfig& columns);

  /// Counts an access to an active cluster. False, and no event, for any other.
  bool update_cluster_access(std::string_view cluster_id);

  /// The rows of `clusters`, newest first.
  [[nodiscard]] std::vector<CachedCluster> get_all_clusters(const ClusterFilter& filter = {}) const;

  /// The rows for which an SQL condition over the columns holds (`num_workers > 1 AND
  /// cluster_name LIKE 'test%'`), newest first. On every engine it is SQLite's SQL, over a copy
  /// that holds nothing else; 'now' in its functions is this machine's. Times compare as moments,
  /// whether a space or a `T` stands in them. Throws InvalidArgument for what is not one
  /// expression, reads other tables, calls what does more than compute, or takes too long.
  [[nodiscard]] std::vector<CachedCluster> get_clusters_where(std::string_view condition) const;

  [[nodiscard]] CacheStatistics get_cache_statistics() const;

  /// Removes the rows past their expiry, but those that a live lease holds. Returns how many. A
  /// cluster that `acquire` created takes its entry along, and is owed (SharedClusters::owed).
  std::size_t cleanup_expired_clusters();
  Removal cleanup_expired_clusters(HeldClusters held);

  /// Removes the row of a cluster that was terminated; what `acquire` knew of it goes along, and
  /// nothing is owed for it. False when it is neither cached nor owed.
  bool remove_terminated_cluster(std::string_view cluster_id);

  /// Removes every row of `clusters`, but those that a live lease holds; the registry and the log
  /// stay. Returns how many. Clusters that `acquire` created go as in `cleanup_expired_clusters`.
  std::size_t clear_cluster_cache();
  Removal clear_cluster_cache(HeldClusters held);

  // ---- The shared clusters

  /// True when this call made the entry (status creating, usage count 1), or when there is one to
  /// join (creating or ready); false when it failed. Throws InvalidArgument for a pid below 1.
  bool register_shared_cluster_creation(std::string_view config_hash, std::int64_t worker_pid);

  /// The same, telling which: only one caller over all processes learns `created`.
  Registration register_or_join_shared_cluster(std::string_view config_hash,
                                               std::int64_t worker_pid);

  /// Whether there is an entry that is creating or ready.
  [[nodiscard]] bool can_join_shared_cluster_creation(std::string_view config_hash) const;

  /// Changes an entry's status. Throws NotFound for an unknown hash, InvalidArgument for `ready`
  /// with no cluster id given or known, and Busy while a live lease or creator holds the entry.
  void update_shared_cluster_status(std::string_view config_hash, RegistryStatus status,
                                    const StatusDetails& details = {});

  [[nodiscard]] std::optional<RegistryEntry> get_shared_cluster_info(
      std::string_view config_hash) const;

  /// Returns the new count; 0, and no event, for an unknown hash.
  std::int64_t increment_shared_cluster_usage(std::string_view config_hash);

  /// Returns the new count; no event for an unknown hash (0), and where no documented use is left:
  /// leases end by their holders.
  std::int64_t decrement_shared_cluster_usage(std::string_view config_hash);

  /// Removes the entry. True also when there was none, so that teardown can run twice; false when a
  /// live lease or creator holds it. A cluster that `acquire` created goes along, and is owed.
  bool cleanup_shared_cluster_registry(std::string_view config_hash);
  Removal cleanup_shared_cluster_registry(std::string_view config_hash, HeldClusters held);

  /// Removes every entry, but those that a live lease or creator holds, in one transaction. Returns
  /// how many.
  std::size_t clear_shared_cluster_registry();
  Removal clear_shared_cluster_registry(HeldClusters held);

  /// The entries, newest first.
  [[nodiscard]] std::vector<RegistryEntry> get_all_shared_clusters() const;

  // ---- The log

  /// The events that fit the query, with what each changed. Throws InvalidArgument for a type that
  /// is not an event's.
  [[nodiscard]] std::vector<RecordedEvent> history(const HistoryQuery& query = {}) const;

  /// The events at `from_position` and after it, as soon as there is one: those to come are waited
  /// for, asleep. Ask for the last one's position + 1 next. They tell what happened, not what it
  /// changed
  /// (`effect` and `changes` are history's). Empty past the timeout; throws Cancelled when stopped,
  /// and InvalidArgument for a position below 1 or a limit of 0.
  [[nodiscard]] std::vector<RecordedEvent> wait_for_events(std::int64_t from_position,
                                                           const WatchOptions& options = {}) const;

  /// Rebuilds the projected tables from the log in one transaction, or compares them with it. The
  /// hashes are checked on the way: a log that does not verify is refused with CorruptDatabase.
  ReplayReport replay(const ReplayOptions& options = {});

  /// Checks every hash, positions and versions without gaps, and the kept head if one is given.
  [[nodiscard]] VerifyReport verify(const VerifyOptions& options = {}) const;

  // ---- The database

  /// Makes the database, or brings it to this version's schema. Every call that writes does so too:
  /// this is for whoever owns a server's schema, where those who write may not make one.
  void create_database();

  /// Moves the WAL into the database, truncates it, and refreshes the planner's statistics.
  void optimize_database(Vacuum vacuum = Vacuum::no);

  [[nodiscard]] DatabaseInfo get_database_info() const;

  /// Where the database is, or would be. Looks at nothing, and stays what it was at construction.
  [[nodiscard]] DatabaseLocation database_location() const;

  /// What this manager adopted when it opened a database of the Python system; otherwise nothing.
  [[nodiscard]] std::optional<AdoptionReport> adoption() const;

 private:
  friend class SharedClusters;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dbcache
