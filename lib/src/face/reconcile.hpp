#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <dbcache/databricks.hpp>

namespace dbcache::databricks {

/// What `reconcile` asks a workspace.
struct Questions {
  std::string host;
  std::function<std::vector<Cluster>()> active;
  std::function<std::optional<Cluster>(const std::string& cluster_id)> one;
};

/// As the public one, which asks with the pauses of a real workspace.
ReconcileReport reconcile(CacheManager& manager, const Questions& questions);

}  // namespace dbcache::databricks
