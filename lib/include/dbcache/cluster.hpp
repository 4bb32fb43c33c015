#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/object.hpp>

#include <dbcache/export.hpp>
#include <dbcache/time.hpp>

namespace dbcache {

/// A row of the documented table `clusters`. The fields have the names of the columns.
struct CachedCluster {
  std::int64_t id = 0;  ///< The position of the event that made the row; 0 if there is no row.
  std::string cluster_id;
  std::optional<std::string> cluster_name;
  std::optional<std::string> host;  ///< Of the Databricks workspace.
  std::optional<std::int64_t> num_workers;
  std::string status = "RUNNING";  ///< As given when it was cached. The library asks no workspace.
  Timestamp created_at{};
  Timestamp expiry_time{};  ///< The cluster has expired at this time and later.
  Timestamp last_accessed{};
  std::int64_t access_count = 1;
  bool is_active = true;  ///< Caching an active cluster deactivates the others.
  bool is_shared = false;

  bool operator==(const CachedCluster&) const = default;
};

/// The active cluster, as `dbcache status` shows it.
struct CachedClusterInfo {
  CachedCluster cluster;
  bool is_valid = false;                  ///< Active and not expired.
  std::chrono::microseconds remaining{};  ///< Until it expires; 0 if it has.
  bool from_environment = false;          ///< DATABRICKS_CLUSTER_ID names it; there is no row.
};

/// Which rows `get_all_clusters` returns: those that match every field that is set.
struct ClusterFilter {
  std::optional<bool> is_active{};
  std::optional<bool> is_shared{};
  std::optional<bool> is_expired{};  ///< `expiry_time` is the present or earlier.
};

/// How a removal treats clusters and entries that a live lease or a live creator holds.
enum class HeldClusters {
  leave,   ///< They stay. Removal::held names them.
  remove,  ///< They are removed, and the leases on them are lost.
};

/// The result of a removal.
struct Removal {
  std::size_t removed = 0;          ///< How many rows were removed.
  std::vector<std::string> held{};  ///< Left in place: cluster ids, or config hashes of entries.
};

/// Figures over the table `clusters`.
struct CacheStatistics {
  std::int64_t total_clusters = 0;
  std::int64_t active_clusters = 0;    ///< Those with `is_active`.
  std::int64_t expired_clusters = 0;   ///< Expired and not cleaned up.
  std::int64_t total_accesses = 0;     ///< The sum of `access_count`.
  std::int64_t shared_clusters = 0;    ///< Those with `is_shared`.
  std::uintmax_t cache_file_size = 0;  ///< DatabaseInfo::database_size: bytes, without the WAL.

  bool operator==(const CacheStatistics&) const = default;
};

/// A cluster configuration: a JSON object with any keys. dbcache reads `cluster_name`, `host`,
/// `num_workers`, `status`, `created_at` and `is_shared`. It keeps every other key in the log.
///
/// A value like any other: several threads may call its const members at once.
///
///     dbcache::ClusterConfig config{{"cluster_name", "test-cluster"}, {"num_workers", 1}};
class DBCACHE_EXPORT ClusterConfig {
 public:
  /// A key and its value.
  using Entry = std::pair<boost::json::string_view, boost::json::value_ref>;

  /// An empty object.
  ClusterConfig() = default;
  /// An object with these keys and values.
  ClusterConfig(std::initializer_list<Entry> entries) : values_(entries) {}
  explicit ClusterConfig(boost::json::object values) : values_(std::move(values)) {}

  /// The largest configuration, in bytes of JSON: 1 MiB.
  static constexpr std::size_t max_bytes = std::size_t{1} << 20;

  /// Parses a JSON object of at most `max_bytes` and 32 levels. Throws InvalidArgument for any
  /// other text. Thread-safe.
  [[nodiscard]] static ClusterConfig parse(std::string_view json_text);

  /// The keys and values.
  [[nodiscard]] const boost::json::object& values() const noexcept { return values_; }
  [[nodiscard]] boost::json::object& values() noexcept { return values_; }

 private:
  boost::json::object values_;
};

/// Throws InvalidArgument unless `id` may become the id of a cluster: 1 to 255 bytes of UTF-8,
/// without blanks, control or invisible characters, brackets and quotes, and not a word such as
/// `null`. Such a text is the output of a command or a part of one. Every call that brings a new id
/// requires this. Ids that are in a database already stay as they are. Thread-safe.
DBCACHE_EXPORT void check_cluster_id(std::string_view id);

/// The keys that `config_hash` leaves out, in addition to the keys that it always leaves out.
struct HashOptions {
  /// Keys of the top level, such as a generated `cluster_name`.
  std::vector<std::string> leave_out{};
};

/// The hash that names a configuration: SHA-256 of its canonical JSON, in 64 lower-case hex digits.
/// RFC 8785 defines canonical JSON.
///
/// Every key counts, except:
/// - `cluster_id`, `created_at`, `expiry_time`, `status` and `is_shared`, at the top level;
/// - the keys of secrets, at any depth: those with the word token, secret, password or credential,
///   or with key after access, account, api or private;
/// - the keys that `options` leaves out.
///
/// `host` is normalised to scheme, host name and port, so that it may be pasted from a browser:
/// https:// if it has no scheme, scheme and host name in lower case (RFC 3986, section 6.2.2.1), no
/// user information, path, query, fragment, default port, or dot at the end of the name. If it is
/// missing or has no host name, DATABRICKS_HOST takes its place. The
/// value of DATABRICKS_TOKEN, if it has 16 characters or more, counts as `[redacted]` wherever it
/// appears.
///
/// Throws InvalidArgument for a configuration without canonical form: a number that an IEEE 754
/// double cannot hold, invalid UTF-8, or more than 32 levels. Thread-safe, but reads the
/// environment: no other thread may call setenv() meanwhile.
[[nodiscard]] DBCACHE_EXPORT std::string config_hash(const ClusterConfig& config,
                                                     const HashOptions& options = {});

}  // namespace dbcache
