#pragma once

#include <memory>
#include <set>
#include <string>

#include <dbcache/databricks.hpp>

#include "workspace/clusters_api.hpp"

namespace dbcache::workspace {

/// Whether no creator had seen the cluster run when its termination became pending: for a while the
/// workspace may not know it yet.
bool may_be_new(const OwedTermination& owed);

/// `create`, `check` and `terminate` for the clusters of one workspace.
class Lifecycle {
 public:
  struct Settings {
    std::int64_t autotermination_minutes = 60;
    bool permanent_delete = false;
  };
  Lifecycle(ClustersApi clusters, Settings settings)
      : clusters_(std::move(clusters)), settings_(settings) {}

  [[nodiscard]] const ClustersApi& clusters() const noexcept { return clusters_; }

  /// Takes on the cluster that an earlier creator had started, or one with the tag of this
  /// creation's token; else asks for a new one. Returns its id once it runs.
  std::string create(const ClusterConfig& config, Creation& creation) const;

  [[nodiscard]] bool check(const std::string& cluster_id, const Bounds& bounds) const;

  /// Returns once the workspace says that the cluster, and every one with the tag of the token, is
  /// terminating or gone. `now` is by the clock that `owed_at` is by. Throws WorkspaceUnavailable
  /// if one may still appear, since its creation ended only just now.
  void terminate(const OwedTermination& owed, Timestamp now, const Bounds& bounds) const;

 private:
  /// One creation of a cluster.
  class Start;

  /// Returns whether the workspace knew the cluster.
  bool end(const std::string& cluster_id, const Bounds& bounds) const;
  /// Of all with the tag of the token. Of a creation that ended just now a list may lack one: it is
  /// asked again for a while. Returns whether the one that is owed, or any if none is named, was
  /// among them.
  bool end_all(const OwedTermination& owed, Timestamp now, const Bounds& bounds) const;

  ClustersApi clusters_;
  Settings settings_;
};

}  // namespace dbcache::workspace
