#include "commands/clusters.hpp"

#include <boost/range/adaptor/reversed.hpp>

#include "commands/leases.hpp"
#include "commands/terminations.hpp"

namespace dbcache::commands {
namespace {

using rows::TableReader;

/// One cluster is active at a time: caching an active one deactivates the others.
void deactivate_others(const std::string& cluster_id, const std::vector<CachedCluster>& active,
                       Events& events) {
  for (const CachedCluster& other : active) {
    if (other.cluster_id != cluster_id) {
      events.emplace_back(events::ClusterDeactivated{other.cluster_id, cluster_id});
    }
  }
}

/// The entries whose cluster `acquire` created.
std::vector<RegistryEntry> acquired_entries(const std::string& cluster_id,
                                            const TableReader& rows) {
  std::vector<RegistryEntry> found;
  for (const auto& [entry, share] : rows.naming(cluster_id)) {
    if (share && share->origin == rows::EntryOrigin::acquired &&
        (share->created || entry.status == RegistryStatus::ready)) {
      found.push_back(entry);
    }
  }
  return found;
}

/// Removes rows, oldest first, so that histories show them in the order in which they were made. A
/// cluster that `acquire` created becomes owed, and its entry goes too.
template <class Describe>
Decision<Removal> remove_each(const std::vector<CachedCluster>& clusters, HeldClusters held,
                              events::EntryRemovalReason removal, events::OwedReason owed,
                              const Present& present, Describe describe) {
  Decision<Removal> decision;
  for (const CachedCluster& row : boost::adaptors::reverse(clusters)) {
    if (held == HeldClusters::leave && is_cluster_held(row.cluster_id, present)) {
      decision.result.held.push_back(row.cluster_id);
      continue;
    }
    ++decision.result.removed;
    const auto entries = acquired_entries(row.cluster_id, present.rows);
    for (const RegistryEntry& entry : entries) {
      drop_entry(entry, removal, owed, present, decision.events);
    }
    if (entries.empty()) decision.events.emplace_back(describe(row));
  }
  return decision;
}

}  // namespace

Decision<> decide(const CacheCluster& command, const Present& present) {
  const input::ClusterInput& input = command.input;
  CachedCluster row;
  row.cluster_id = input.cluster_id;
  row.cluster_name = input.cluster_name;
  row.host = input.host;
  row.num_workers = input.num_workers;
  row.status = input.status;
  row.created_at = input.created_at.value_or(present.now);
  row.expiry_time = present.now + command.default_expiry;
  row.last_accessed = present.now;
  row.is_shared = input.is_shared;
  row.is_active = command.is_active;

  Events events;
  const auto active = row.is_active ? present.rows.active_clusters() : std::vector<CachedCluster>();
  reclaim(row.cluster_id, present.rows, events);
  deactivate_others(row.cluster_id, active, events);
  events.emplace_back(events::ClusterCached{row, input.configuration});
  return {std::move(events)};
}

Decision<> decide(const SaveCluster& command, const Present& present) {
  CachedCluster row = command.cluster;
  row.id = 0;
  if (row.created_at == Timestamp{}) row.created_at = present.now;
  if (row.last_accessed == Timestamp{}) row.last_accessed = present.now;
  if (row.expiry_time == Timestamp{}) row.expiry_time = present.now + command.default_expiry;

  Events events;
  const auto active = row.is_active ? present.rows.active_clusters() : std::vector<CachedCluster>();
  reclaim(row.cluster_id, present.rows, events);
  deactivate_others(row.cluster_id, active, events);
  events.emplace_back(events::ClusterCached{row, command.more});
  return {std::move(events)};
}

Decision<bool> decide(const AccessCluster& command, const Present& present) {
  const auto row = present.rows.cluster(command.cluster_id);
  if (!row || !row->is_active) return {};
  return {{events::ClusterAccessed{row->cluster_id, present.now, one_more(row->access_count)}},
          true};
}

Decision<Removal> decide(const CleanUpExpired& command, const Present& present) {
  return remove_each(present.rows.clusters({.is_expired = true}, present.now), command.held,
                     events::EntryRemovalReason::expired, events::OwedReason::expired, present,
                     [](const CachedCluster& row) {
                       return events::ClusterExpired{row.cluster_id, row.expiry_time};
                     });
}

Decision<bool> decide(const RemoveTerminated& command, const Present& present) {
  Decision<bool> decision;
  for (const RegistryEntry& entry : acquired_entries(command.cluster_id, present.rows)) {
    lose_leases(entry, events::LeaseLossReason::cluster_lost, present, decision.events);
    decision.events.emplace_back(
        events::RegistryEntryRemoved{entry.config_hash, events::EntryRemovalReason::terminated});
  }
  if (present.rows.pending_termination(command.cluster_id)) {
    decision.events.emplace_back(
        events::TerminationCancelled{command.cluster_id, events::CancelReason::terminated});
  }
  if (present.rows.cluster(command.cluster_id)) {
    decision.events.emplace_back(
        events::ClusterRemoved{command.cluster_id, events::ClusterRemovalReason::terminated});
  }
  decision.result = !decision.events.empty();
  return decision;
}

Decision<Removal> decide(const ClearClusters& command, const Present& present) {
  return remove_each(
      present.rows.clusters({}, present.now), command.held, events::EntryRemovalReason::cleared,
      events::OwedReason::cleared, present, [](const CachedCluster& row) {
        return events::ClusterRemoved{row.cluster_id, events::ClusterRemovalReason::cleared};
      });
}

std::optional<CachedCluster> latest_active_cluster(const TableReader& rows, Timestamp now) {
  if (auto row = rows.active_cluster(now)) return row;
  auto found = rows.clusters({.is_active = true}, now, 1);
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

bool is_valid(const CachedCluster& cluster, Timestamp now) {
  return !cluster.cluster_id.empty() && cluster.is_active && cluster.expiry_time > now;
}

}  // namespace dbcache::commands
