#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "commands/decision.hpp"
#include "input/input.hpp"
#include "rows/tables.hpp"

// The rules of the table `clusters`: (command, rows, present) -> events. Pure.
namespace dbcache::commands {

/// Caches a cluster, as the active one unless told otherwise, with the default expiry.
struct CacheCluster {
  input::ClusterInput input;
  std::chrono::microseconds default_expiry{};
  bool is_active = true;
};
Events decide(const CacheCluster& command, const rows::TableReader& rows, Timestamp now);

/// Caches a cluster with its columns as given; times left at zero are filled in.
struct SaveCluster {
  CachedCluster cluster;
  std::chrono::microseconds default_expiry{};
  boost::json::object more{};  ///< What was given beside the columns.
};
Events decide(const SaveCluster& command, const rows::TableReader& rows, Timestamp now);

struct AccessCluster {
  std::string cluster_id;
};
Decision<bool> decide(const AccessCluster& command, const rows::TableReader& rows, Timestamp now);

struct CleanUpExpired {
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const CleanUpExpired& command, const rows::TableReader& rows,
                         Timestamp now);

struct RemoveTerminated {
  std::string cluster_id;
};
Decision<bool> decide(const RemoveTerminated& command, const rows::TableReader& rows,
                      Timestamp now);

struct ClearClusters {
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const ClearClusters& command, const rows::TableReader& rows,
                         Timestamp now);

/// The newest active row that has not expired.
std::optional<CachedCluster> active_cluster(const rows::TableReader& rows, Timestamp now);

/// The newest active row although it may have expired.
std::optional<CachedCluster> latest_active_cluster(const rows::TableReader& rows, Timestamp now);

/// Named, active, and not yet expired.
bool is_valid(const CachedCluster& cluster, Timestamp now);

}  // namespace dbcache::commands
