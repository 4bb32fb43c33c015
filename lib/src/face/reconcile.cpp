#include "face/reconcile.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "input/input.hpp"
#include "workspace/lifecycle.hpp"

namespace dbcache::databricks {
namespace {

/// A cluster that is younger may be one of which a database will learn yet.
constexpr std::chrono::hours least_age{1};

bool is_active(ClusterState state) {
  const auto& active = workspace::active_states;
  return std::find(active.begin(), active.end(), state) != active.end();
}

/// What a database names.
struct Named {
  std::map<std::string, std::set<std::string>> hosts_of;  ///< By cluster id, normalised.
  std::set<std::string> clusters;
  std::set<std::string> tokens;
  std::map<std::string, OwedTermination> owed;  ///< By cluster id.
};

std::string text_at(const boost::json::object& object, const char* key) {
  const boost::json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

/// The creations that the log has, by their tokens: of which configuration each was.
std::map<std::string, std::string> creations_of(const CacheManager& manager) {
  std::map<std::string, std::string> creations;
  HistoryQuery query;
  query.types = {"CreationStarted"};
  for (const RecordedEvent& event : manager.history(query)) {
    boost::system::error_code failed;
    const boost::json::value payload = boost::json::parse(event.payload, failed);
    if (failed || !payload.is_object()) continue;
    creations.insert_or_assign(text_at(payload.get_object(), "idempotency_token"),
                               text_at(payload.get_object(), "config_hash"));
  }
  creations.erase("");
  return creations;
}

Named named_by(CacheManager& manager) {
  Named named;
  const auto add = [&named](const std::string& cluster_id, const std::optional<std::string>& host) {
    named.clusters.insert(cluster_id);
    auto& hosts = named.hosts_of[cluster_id];
    if (host) hosts.insert(input::normalised_host(*host));
  };
  SharedClusters shared(manager);
  for (const OwedTermination& owed : shared.owed()) {
    if (owed.cluster_id) {
      add(*owed.cluster_id, owed.host);
      named.owed.insert_or_assign(*owed.cluster_id, owed);
    }
    if (owed.idempotency_token) named.tokens.insert(*owed.idempotency_token);
  }
  for (const CachedCluster& row : manager.get_all_clusters()) add(row.cluster_id, row.host);
  for (const RegistryEntry& entry : manager.get_all_shared_clusters()) {
    if (entry.cluster_id) named.clusters.insert(*entry.cluster_id);
  }
  for (const LeaseInfo& lease : shared.leases().leases) {
    if (lease.cluster_id) named.clusters.insert(*lease.cluster_id);
  }
  return named;
}

/// The configurations whose cluster is being created: what bears the token of such a creation is
/// its own.
std::set<std::string> under_way(const CacheManager& manager) {
  std::set<std::string> hashes;
  for (const RegistryEntry& entry : manager.get_all_shared_clusters()) {
    if (entry.status == RegistryStatus::creating) hashes.insert(entry.config_hash);
  }
  return hashes;
}

bool is_orphan(const Cluster& cluster, const std::map<std::string, std::string>& creations,
               const Named& named, const std::set<std::string>& creating) {
  const std::string token = workspace::tag_of(cluster, workspace::token_tag);
  const auto creation = creations.find(token);
  const auto now = std::chrono::system_clock::now();
  return creation != creations.end() && !creating.contains(creation->second) &&
         !named.tokens.contains(token) && !named.clusters.contains(cluster.cluster_id) &&
         is_active(cluster.state) && cluster.start_time && *cluster.start_time + least_age <= now;
}

}  // namespace

namespace {

/// Why a cluster that the workspace does not have is still owed; empty: it is not.
std::string why_still_owed(const Named& named, const std::string& cluster_id,
                           const std::set<std::string>& active_tokens) {
  const auto found = named.owed.find(cluster_id);
  if (found == named.owed.end()) return "";
  const OwedTermination& owed = found->second;
  if (owed.idempotency_token && active_tokens.contains(*owed.idempotency_token)) {
    return "it is gone, but another cluster of its creation runs: `dbcache cleanup --workspace` "
           "terminates that";
  }
  const bool young =
      std::chrono::system_clock::now() < owed.owed_at + workspace::Pace{}.late_cluster;
  return young && workspace::may_be_new(owed) ? "it is so new that the workspace may show it late"
                                              : "";
}

}  // namespace

ReconcileReport reconcile(CacheManager& manager, const Questions& questions) {
  ReconcileReport report;
  const Named named = named_by(manager);
  std::set<std::string> active;
  std::set<std::string> active_tokens;
  for (const Cluster& cluster : questions.active()) {
    active.insert(cluster.cluster_id);
    active_tokens.insert(workspace::tag_of(cluster, workspace::token_tag));
  }
  for (const auto& [cluster_id, hosts] : named.hosts_of) {
    if (!hosts.contains(questions.host)) {
      report.elsewhere.push_back(cluster_id);
      continue;
    }
    if (active.contains(cluster_id)) {
      report.running.push_back(cluster_id);
      continue;
    }
    try {
      const auto cluster = questions.one(cluster_id);
      if (cluster && cluster->state == ClusterState::unknown) {
        report.unknown.push_back({cluster_id, "its state is UNKNOWN"});
      } else if (cluster && is_active(cluster->state)) {
        report.running.push_back(cluster_id);
      } else if (const std::string why = why_still_owed(named, cluster_id, active_tokens);
                 !why.empty()) {
        report.unknown.push_back({cluster_id, why});
      } else {
        manager.remove_terminated_cluster(cluster_id);
        report.removed.push_back(cluster_id);
      }
    } catch (const WorkspaceError& error) {
      report.unknown.push_back({cluster_id, error.what()});
    }
  }
  return report;
}

ReconcileReport reconcile(CacheManager& manager, const Workspace& workspace,
                          const CallBounds& bounds) {
  return reconcile(manager, {workspace.host(),
                             [&] { return workspace.clusters(workspace::active_states, bounds); },
                             [&](const std::string& id) { return workspace.cluster(id, bounds); }});
}

OrphanReport find_orphans(CacheManager& manager, const Workspace& workspace,
                          const CallBounds& bounds) {
  OrphanReport report;
  // First the clusters: what the database learns meanwhile is then named.
  const auto clusters = workspace.clusters(workspace::active_states, bounds);
  const auto creations = creations_of(manager);
  const auto creating = under_way(manager);
  const Named named = named_by(manager);
  for (const Cluster& cluster : clusters) {
    if (is_orphan(cluster, creations, named, creating)) {
      report.orphans.push_back(cluster);
    } else if (!workspace::tag_of(cluster, workspace::token_tag).empty() &&
               !named.clusters.contains(cluster.cluster_id)) {
      ++report.others;
    }
  }
  return report;
}

bool terminate_orphan(CacheManager& manager, const Workspace& workspace, const Cluster& orphan,
                      const CallBounds& bounds) {
  const auto cluster = workspace.cluster(orphan.cluster_id, bounds);
  if (!cluster ||
      !is_orphan(*cluster, creations_of(manager), named_by(manager), under_way(manager)))
    return false;
  Termination termination;
  termination.owed.cluster_id = cluster->cluster_id;
  termination.owed.host = workspace.host();
  workspace.terminate(termination, bounds);
  return true;
}

}  // namespace dbcache::databricks
