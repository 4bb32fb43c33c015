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

/// A row of the documented table `clusters`; the fields carry its column names.
struct CachedCluster {
  std::int64_t id = 0;  ///< Position of the event that made the row; 0 where there is no row.
  std::string cluster_id;
  std::optional<std::string> cluster_name;
  std::optional<std::string> host;
  std::optional<std::int64_t> num_workers;
  std::string status = "RUNNING";  ///< What was given at caching; never looked up.
  Timestamp created_at{};
  Timestamp expiry_time{};
  Timestamp last_accessed{};
  std::int64_t access_count = 1;
  bool is_active = true;
  bool is_shared = false;

  bool operator==(const CachedCluster&) const = default;
};

/// What `status` shows of the active cluster.
struct CachedClusterInfo {
  CachedCluster cluster;
  bool is_valid = false;                  ///< Active and not expired.
  std::chrono::microseconds remaining{};  ///< Until expiry; 0 when it has passed.
  bool from_environment = false;          ///< Stands in from DATABRICKS_CLUSTER_ID; no row.
};

/// Which rows `get_all_clusters` returns: those that fit every field that is set.
struct ClusterFilter {
  std::optional<bool> is_active{};
  std::optional<bool> is_shared{};
  std::optional<bool> is_expired{};  ///< Expiry at or before the present.
};

/// What removing does with what a live lease, or a live creator, holds.
enum class HeldClusters {
  leave,   ///< It is left alone, and named in the answer.
  remove,  ///< It goes, and the leases on it are lost.
};

/// What was removed, and what was left alone since it is held: cluster ids, or config hashes.
struct Removal {
  std::size_t removed = 0;
  std::vector<std::string> held{};
};

/// Figures over the table `clusters`.
struct CacheStatistics {
  std::int64_t total_clusters = 0;
  std::int64_t active_clusters = 0;   ///< is_active.
  std::int64_t expired_clusters = 0;  ///< Past their expiry and not cleaned up.
  std::int64_t total_accesses = 0;
  std::int64_t shared_clusters = 0;    ///< is_shared.
  std::uintmax_t cache_file_size = 0;  ///< Bytes of the database file, without its WAL.

  bool operator==(const CacheStatistics&) const = default;
};

/// A cluster configuration: a JSON object with any keys. dbcache reads `cluster_name`, `host`,
/// `num_workers`, `status`, `created_at` and `is_shared`; every other key is kept in the log.
///
///     dbcache::ClusterConfig config{{"cluster_name", "test-cluster"}, {"num_workers", 1}};
class DBCACHE_EXPORT ClusterConfig {
 public:
  using Entry = std::pair<boost::json::string_view, boost::json::value_ref>;

  ClusterConfig() = default;
  ClusterConfig(std::initializer_list<Entry> entries) : values_(entries) {}
  explicit ClusterConfig(boost::json::object values) : values_(std::move(values)) {}

  static constexpr std::size_t max_bytes = std::size_t{1} << 20;

  /// Reads a JSON object of at most `max_bytes` (1 MiB) and 32 levels. Throws InvalidArgument for
  /// other text.
  [[nodiscard]] static ClusterConfig parse(std::string_view json_text);

  [[nodiscard]] const boost::json::object& values() const noexcept { return values_; }
  [[nodiscard]] boost::json::object& values() noexcept { return values_; }

 private:
  boost::json::object values_;
};

/// What `config_hash` leaves out beside what it always leaves out.
struct HashOptions {
  /// Keys of the top level: a generated `cluster_name`, say.
  std::vector<std::string> leave_out{};
};

/// The name of a configuration: SHA-256, in lower-case hex, of its canonical JSON (RFC 8785). Every
/// key counts but `cluster_id`, `created_at`, `expiry_time`, `status`, `is_shared`, those of
/// secrets (at any depth), and those left out by `options`. `host` is taken with https:// and
/// without a trailing slash, from DATABRICKS_HOST where it is missing. Throws InvalidArgument for a
/// configuration that has no canonical form (a number outside IEEE 754 doubles, invalid UTF-8,
/// nesting past 32 levels). Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string config_hash(const ClusterConfig& config,
                                                     const HashOptions& options = {});

}  // namespace dbcache
