#include "projections/memory_tables.hpp"

#include <algorithm>
#include <limits>

namespace dbcache::projections {
namespace {

bool fits(const CachedCluster& row, const ClusterFilter& filter, Timestamp now) {
  return filter.is_active.value_or(row.is_active) == row.is_active &&
         filter.is_shared.value_or(row.is_shared) == row.is_shared &&
         (!filter.is_expired || *filter.is_expired == (row.expiry_time <= now));
}

template <class Row>
std::vector<Row> newest_first(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.id > b.id; });
  return rows;
}

template <class Rows>
auto find(const Rows& rows, std::string_view key) {
  const auto found = rows.find(key);
  return found == rows.end() ? std::nullopt : std::optional(found->second);
}

template <class Rows>
void erase(Rows& rows, std::string_view key) {
  if (const auto found = rows.find(key); found != rows.end()) rows.erase(found);
}

template <class Rows>
std::vector<RawRow> raw(const Rows& rows) {
  std::vector<RawRow> all;
  all.reserve(rows.size());
  for (const auto& [key, row] : rows) all.push_back({key, stored_columns(row)});
  return all;
}

}  // namespace

std::optional<CachedCluster> MemoryTables::cluster(std::string_view cluster_id) const {
  return find(clusters_, cluster_id);
}

std::vector<CachedCluster> MemoryTables::clusters(const ClusterFilter& filter, Timestamp now,
                                                  std::optional<std::size_t> limit) const {
  std::vector<CachedCluster> rows;
  for (const auto& [key, row] : clusters_) {
    if (fits(row, filter, now)) rows.push_back(row);
  }
  rows = newest_first(std::move(rows));
  if (limit && rows.size() > *limit) rows.resize(*limit);
  return rows;
}

CacheStatistics MemoryTables::statistics(Timestamp now) const {
  CacheStatistics totals;
  for (const auto& [key, row] : clusters_) {
    totals.total_clusters += 1;
    totals.active_clusters += row.is_active ? 1 : 0;
    totals.expired_clusters += row.expiry_time <= now ? 1 : 0;
    totals.total_accesses += std::min(
        row.access_count, std::numeric_limits<std::int64_t>::max() - totals.total_accesses);
    totals.shared_clusters += row.is_shared ? 1 : 0;
  }
  return totals;
}

std::optional<RegistryEntry> MemoryTables::entry(std::string_view config_hash) const {
  return find(entries_, config_hash);
}

std::vector<RegistryEntry> MemoryTables::entries() const {
  std::vector<RegistryEntry> rows;
  for (const auto& [key, row] : entries_) rows.push_back(row);
  return newest_first(std::move(rows));
}

std::vector<RawRow> MemoryTables::raw_clusters() const { return raw(clusters_); }
std::vector<RawRow> MemoryTables::raw_entries() const { return raw(entries_); }

void MemoryTables::put(const CachedCluster& row) {
  clusters_.insert_or_assign(row.cluster_id, row);
}
void MemoryTables::put(const RegistryEntry& row) {
  entries_.insert_or_assign(row.config_hash, row);
}
void MemoryTables::erase_cluster(std::string_view cluster_id) { erase(clusters_, cluster_id); }
void MemoryTables::erase_entry(std::string_view config_hash) { erase(entries_, config_hash); }

void MemoryTables::clear() {
  clusters_.clear();
  entries_.clear();
}

void MemoryTables::copy_to(Tables& target) const {
  // In order of id, so that rows made by hand in a table read the same as rows made by events.
  for (auto rows = clusters({}, {}, std::nullopt); !rows.empty(); rows.pop_back()) {
    target.put(rows.back());
  }
  for (auto rows = entries(); !rows.empty(); rows.pop_back()) target.put(rows.back());
}

}  // namespace dbcache::projections
