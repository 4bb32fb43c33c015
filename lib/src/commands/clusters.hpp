#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"
#include "input/input.hpp"

// The rules of the table `clusters`: decide(command, present) -> Decision. Pure.
namespace dbcache::commands {

/// Caches a cluster, as the active one unless told otherwise, with the default expiry.
struct CacheCluster {
  input::ClusterInput input;
  std::chrono::microseconds default_expiry{};
  bool is_active = true;
};
Decision<> decide(const CacheCluster& command, const Present& present);

/// Caches a cluster with its columns as given. Zero times are filled in.
struct SaveCluster {
  CachedCluster cluster;
  std::chrono::microseconds default_expiry{};
  boost::json::object more{};  ///< Keys given in addition to the columns.
};
Decision<> decide(const SaveCluster& command, const Present& present);

struct AccessCluster {
  std::string cluster_id;
};
Decision<bool> decide(const AccessCluster& command, const Present& present);

struct CleanUpExpired {
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const CleanUpExpired& command, const Present& present);

struct RemoveTerminated {
  std::string cluster_id;
};
Decision<bool> decide(const RemoveTerminated& command, const Present& present);

struct ClearClusters {
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const ClearClusters& command, const Present& present);

/// The newest active row; one that has expired only if all have.
std::optional<CachedCluster> latest_active_cluster(const rows::TableReader& rows, Timestamp now);

/// Named, active, and not yet expired.
bool is_valid(const CachedCluster& cluster, Timestamp now);

}  // namespace dbcache::commands
