#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

namespace dbcache::test {

/// The documented system as plainly as it can be said: two lists of rows in the order in which the
/// rows came, and how many events there were. Written from the document alone; it shares no rule
/// with the library, so that the two can be held against each other.
class DocumentedModel {
 public:
  explicit DocumentedModel(std::chrono::microseconds default_expiry) : expiry_(default_expiry) {}

  std::vector<CachedCluster> clusters;  ///< Oldest first.
  std::vector<RegistryEntry> entries;   ///< Oldest first.
  std::int64_t events = 0;

  // ---- Clusters

  /// `row` has what the configuration gives; created_at at zero where it gives none.
  void cache_new(CachedCluster row, Timestamp now) {
    if (row.created_at == Timestamp{}) row.created_at = now;
    row.expiry_time = now + expiry_;
    row.last_accessed = now;
    row.access_count = 1;
    row.is_active = true;
    put_cluster(row);
  }

  void save(CachedCluster row, Timestamp now) {
    if (row.created_at == Timestamp{}) row.created_at = now;
    if (row.last_accessed == Timestamp{}) row.last_accessed = now;
    if (row.expiry_time == Timestamp{}) row.expiry_time = now + expiry_;
    put_cluster(row);
  }

  bool access(const std::string& cluster_id, Timestamp now) {
    CachedCluster* row = find_cluster(cluster_id);
    if (row == nullptr || !row->is_active) return false;
    row->last_accessed = now;
    if (row->access_count < most) row->access_count += 1;
    events += 1;
    return true;
  }

  bool remove(const std::string& cluster_id) {
    const auto removed = std::erase_if(
        clusters, [&](const CachedCluster& row) { return row.cluster_id == cluster_id; });
    events += static_cast<std::int64_t>(removed);
    return removed > 0;
  }

  std::size_t clean_up(Timestamp now) {
    const std::size_t removed =
        std::erase_if(clusters, [&](const CachedCluster& row) { return row.expiry_time <= now; });
    events += static_cast<std::int64_t>(removed);
    return removed;
  }

  std::size_t clear_clusters() {
    const std::size_t removed = clusters.size();
    events += static_cast<std::int64_t>(removed);
    clusters.clear();
    return removed;
  }

  [[nodiscard]] std::optional<CachedCluster> load(Timestamp now) const {
    for (auto row = clusters.rbegin(); row != clusters.rend(); ++row) {
      if (row->is_active && row->expiry_time > now) return *row;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<CachedCluster> load_although_expired(Timestamp now) const {
    if (auto row = load(now)) return row;
    for (auto row = clusters.rbegin(); row != clusters.rend(); ++row) {
      if (row->is_active) return *row;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::vector<CachedCluster> all_clusters(const ClusterFilter& filter,
                                                        Timestamp now) const {
    std::vector<CachedCluster> fitting;
    for (auto row = clusters.rbegin(); row != clusters.rend(); ++row) {
      const bool expired = row->expiry_time <= now;
      if (filter.is_active && *filter.is_active != row->is_active) continue;
      if (filter.is_shared && *filter.is_shared != row->is_shared) continue;
      if (filter.is_expired && *filter.is_expired != expired) continue;
      fitting.push_back(*row);
    }
    return fitting;
  }

  [[nodiscard]] CacheStatistics statistics(Timestamp now) const {
    CacheStatistics totals;
    for (const CachedCluster& row : clusters) {
      totals.total_clusters += 1;
      if (row.is_active) totals.active_clusters += 1;
      if (row.expiry_time <= now) totals.expired_clusters += 1;
      totals.total_accesses += std::min(row.access_count, most - totals.total_accesses);
      if (row.is_shared) totals.shared_clusters += 1;
    }
    return totals;
  }

  // ---- Registry

  /// True when this call made the entry.
  bool register_creation(const std::string& hash, std::int64_t pid, Timestamp now) {
    if (entry(hash)) return false;
    RegistryEntry row;
    row.id = ++events;
    row.config_hash = hash;
    row.status = RegistryStatus::creating;
    row.worker_pid = pid;
    row.creation_time = now;
    row.usage_count = 1;
    entries.push_back(row);
    return true;
  }

  [[nodiscard]] bool can_join(const std::string& hash) const {
    const auto row = entry(hash);
    return row && (row->status == RegistryStatus::creating || row->status == RegistryStatus::ready);
  }

  enum class StatusAnswer { changed, not_found, needs_cluster };
  StatusAnswer change_status(const std::string& hash, RegistryStatus status,
                             const StatusDetails& details) {
    RegistryEntry* row = find_entry(hash);
    if (row == nullptr) return StatusAnswer::not_found;
    if (status == RegistryStatus::ready && !details.cluster_id && !row->cluster_id) {
      return StatusAnswer::needs_cluster;
    }
    row->status = status;
    if (details.cluster_id) row->cluster_id = details.cluster_id;
    row->error_message = details.error_message;
    events += 1;
    return StatusAnswer::changed;
  }

  std::int64_t increment(const std::string& hash) {
    RegistryEntry* row = find_entry(hash);
    if (row == nullptr) return 0;
    events += 1;
    return ++row->usage_count;
  }

  std::int64_t decrement(const std::string& hash) {
    RegistryEntry* row = find_entry(hash);
    if (row == nullptr || row->usage_count == 0) return 0;
    events += 1;
    return --row->usage_count;
  }

  void clean_up_entry(const std::string& hash) {
    events += static_cast<std::int64_t>(
        std::erase_if(entries, [&](const RegistryEntry& row) { return row.config_hash == hash; }));
  }

  std::size_t clear_entries() {
    const std::size_t removed = entries.size();
    events += static_cast<std::int64_t>(removed);
    entries.clear();
    return removed;
  }

  [[nodiscard]] std::optional<RegistryEntry> entry(const std::string& hash) const {
    for (const RegistryEntry& row : entries) {
      if (row.config_hash == hash) return row;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::vector<RegistryEntry> all_entries() const {
    return {entries.rbegin(), entries.rend()};
  }

 private:
  /// Counts go no further.
  static constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

  void put_cluster(CachedCluster row) {
    if (row.is_active) {
      for (CachedCluster& other : clusters) {
        if (other.is_active && other.cluster_id != row.cluster_id) {
          other.is_active = false;
          events += 1;
        }
      }
    }
    std::erase_if(clusters,
                  [&](const CachedCluster& old) { return old.cluster_id == row.cluster_id; });
    row.id = ++events;
    clusters.push_back(row);
  }

  CachedCluster* find_cluster(const std::string& cluster_id) {
    for (CachedCluster& row : clusters) {
      if (row.cluster_id == cluster_id) return &row;
    }
    return nullptr;
  }

  RegistryEntry* find_entry(const std::string& hash) {
    for (RegistryEntry& row : entries) {
      if (row.config_hash == hash) return &row;
    }
    return nullptr;
  }

  std::chrono::microseconds expiry_;
};

}  // namespace dbcache::test
