#pragma once

#include <memory>
#include <optional>
#include <string>

#include <dbcache/databricks.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/arguments.hpp"
#include "cli/process/lifecycle.hpp"

namespace dbcache::cli {

/// The options that choose a Databricks workspace for commands that terminate clusters.
class WorkspaceArguments {
 public:
  /// Declares --workspace and --workspace-profile.
  void declare(Arguments& arguments);
  /// Declares --workspace-profile alone, where the workspace is asked anyway.
  void declare_profile(Arguments& arguments);

  /// Whether the workspace terminates clusters.
  [[nodiscard]] bool wanted() const noexcept { return wanted_ || profile_.has_value(); }
  /// Throws InvalidArgument if the workspace is wanted beside a terminate CMD, or the profile's
  /// name is empty.
  void check(bool has_command) const;

  [[nodiscard]] databricks::WorkspaceOptions options() const;
  [[nodiscard]] bool has_profile() const noexcept { return profile_.has_value(); }

 private:
  bool wanted_ = false;
  std::optional<std::string> profile_;
};

/// The lifecycle of the configuration's workspace. The workspace's credentials are looked for at
/// once, unless this process may be given a cluster without any: then at the first need.
ClusterLifecycle workspace_lifecycle(const ClusterConfig& config,
                                     const databricks::WorkspaceOptions& options,
                                     const std::shared_ptr<LifecycleContext>& context);

/// The `terminate` of the workspace of these options.
std::function<void(const Termination&)> workspace_terminate(
    const databricks::WorkspaceOptions& options, const std::shared_ptr<LifecycleContext>& context);

}  // namespace dbcache::cli
