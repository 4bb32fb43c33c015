#include "commands/clusters.hpp"

#include <algorithm>
#include <iterator>

namespace dbcache::commands {
namespace {

using projections::TableReader;

/// One cluster is active at a time: caching an active one deactivates the others.
void deactivate_others(const std::string& cluster_id, const TableReader& rows, Timestamp now,
                       Events& events) {
  for (const CachedCluster& other : rows.clusters({.is_active = true}, now)) {
    if (other.cluster_id != cluster_id) {
      events.emplace_back(events::ClusterDeactivated{other.cluster_id, cluster_id});
    }
  }
}

template <class Describe>
Decision<std::size_t> remove_each(const std::vector<CachedCluster>& clusters, Describe describe) {
  Decision<std::size_t> decision;
  // Oldest first: a history reads in the order in which the rows came.
  std::transform(clusters.rbegin(), clusters.rend(), std::back_inserter(decision.events), describe);
  decision.result = clusters.size();
  return decision;
}

}  // namespace

Events decide(const CacheCluster& command, const TableReader& rows, Timestamp now) {
  const ClusterInput& input = command.input;
  CachedCluster row;
  row.cluster_id = input.cluster_id;
  row.cluster_name = input.cluster_name;
  row.host = input.host;
  row.num_workers = input.num_workers;
  row.status = input.status;
  row.created_at = input.created_at.value_or(now);
  row.expiry_time = now + command.default_expiry;
  row.last_accessed = now;
  row.is_shared = input.is_shared;

  Events events;
  deactivate_others(row.cluster_id, rows, now, events);
  events.emplace_back(events::ClusterCached{row, input.configuration});
  return events;
}

Events decide(const SaveCluster& command, const TableReader& rows, Timestamp now) {
  CachedCluster row = command.cluster;
  row.id = 0;
  if (row.created_at == Timestamp{}) row.created_at = now;
  if (row.last_accessed == Timestamp{}) row.last_accessed = now;
  if (row.expiry_time == Timestamp{}) row.expiry_time = now + command.default_expiry;

  Events events;
  if (row.is_active) deactivate_others(row.cluster_id, rows, now, events);
  events.emplace_back(events::ClusterCached{row, {}});
  return events;
}

Decision<bool> decide(const AccessCluster& command, const TableReader& rows, Timestamp now) {
  const auto row = rows.cluster(command.cluster_id);
  if (!row || !row->is_active) return {};
  return {{events::ClusterAccessed{row->cluster_id, now, one_more(row->access_count)}}, true};
}

Decision<std::size_t> decide(const CleanUpExpired&, const TableReader& rows, Timestamp now) {
  return remove_each(rows.clusters({.is_expired = true}, now), [](const CachedCluster& row) {
    return events::ClusterExpired{row.cluster_id, row.expiry_time};
  });
}

Decision<bool> decide(const RemoveTerminated& command, const TableReader& rows, Timestamp) {
  if (!rows.cluster(command.cluster_id)) return {};
  return {{events::ClusterRemoved{command.cluster_id, events::ClusterRemovalReason::terminated}},
          true};
}

Decision<std::size_t> decide(const ClearClusters&, const TableReader& rows, Timestamp now) {
  return remove_each(rows.clusters({}, now), [](const CachedCluster& row) {
    return events::ClusterRemoved{row.cluster_id, events::ClusterRemovalReason::cleared};
  });
}

std::optional<CachedCluster> active_cluster(const TableReader& rows, Timestamp now) {
  auto found = rows.clusters({.is_active = true, .is_expired = false}, now, 1);
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

std::optional<CachedCluster> latest_active_cluster(const TableReader& rows, Timestamp now) {
  if (auto row = active_cluster(rows, now)) return row;
  auto found = rows.clusters({.is_active = true}, now, 1);
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

bool is_valid(const CachedCluster& cluster, Timestamp now) {
  return !cluster.cluster_id.empty() && cluster.is_active && cluster.expiry_time > now;
}

}  // namespace dbcache::commands
