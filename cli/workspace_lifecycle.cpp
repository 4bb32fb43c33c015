#include "cli/workspace_lifecycle.hpp"

#include <cstdlib>
#include <mutex>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::cli {
namespace {

/// A workspace that is looked for at the first need.
class LazyWorkspace {
 public:
  LazyWorkspace(ClusterConfig config, databricks::WorkspaceOptions options)
      : config_(std::move(config)), options_(std::move(options)) {}

  databricks::Workspace get() {
    const std::scoped_lock guard(mutex_);
    if (!found_) {
      try {
        found_ = databricks::Workspace::of(config_, options_);
      } catch (const databricks::NotAuthenticated& error) {
        throw databricks::NotAuthenticated(fmt::format(
            "without --create the Databricks workspace starts the cluster, but: {}", error.what()));
      }
    }
    return *found_;
  }

 private:
  const ClusterConfig config_;
  const databricks::WorkspaceOptions options_;
  std::mutex mutex_;
  std::optional<databricks::Workspace> found_;
};

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

/// Without a stop of the whole command, as at the end of `run`, a signal that comes from now on
/// ends the call, as it ends a CMD.
databricks::CallBounds bounds_of(const LifecycleContext& context) {
  databricks::CallBounds bounds;
  bounds.stop = context.stop.stop_possible() ? context.stop : context.signals.next_stop();
  bounds.deadline = context.deadline;
  // What is not terminated now stays pending, and is tried again by others.
  bounds.patience = std::chrono::minutes{1};
  return bounds;
}

}  // namespace

void WorkspaceArguments::declare(Arguments& arguments) {
  arguments.flag("--workspace", wanted_,
                 "Terminate in the workspace, as run without --create does");
  declare_profile(arguments);
}

void WorkspaceArguments::declare_profile(Arguments& arguments) {
  arguments.optional("--workspace-profile", "NAME", profile_,
                     "The profile of ~/.databrickscfg that has the credentials");
}

void WorkspaceArguments::check(bool has_command) const {
  if (profile_ && profile_->empty()) {
    throw InvalidArgument(
        "--workspace-profile is empty; give the name of a profile, or leave the option out");
  }
  if (has_command && wanted()) {
    throw InvalidArgument(
        "a CMD and the workspace exclude each other; give --terminate or --workspace");
  }
}

databricks::WorkspaceOptions WorkspaceArguments::options() const {
  databricks::WorkspaceOptions options;
  options.profile = profile_.value_or("");
  return options;
}

ClusterLifecycle workspace_lifecycle(const ClusterConfig& config,
                                     const databricks::WorkspaceOptions& options,
                                     const std::shared_ptr<LifecycleContext>& context) {
  const auto workspace = std::make_shared<LazyWorkspace>(config, options);
  ClusterLifecycle lifecycle;
  try {
    lifecycle.host = workspace->get().host();
  } catch (const databricks::NotAuthenticated&) {
    if (!is_set("DATABRICKS_CLUSTER_ID") && !is_set("DBCACHE_LEASE")) throw;
  }
  lifecycle.create = [workspace](const ClusterConfig& wanted, Creation& creation) {
    return workspace->get().create(wanted, creation);
  };
  lifecycle.check = [workspace, context](const std::string& cluster_id) {
    return workspace->get().check(cluster_id, bounds_of(*context));
  };
  lifecycle.check_counts_for = databricks::Workspace::check_counts_for;
  lifecycle.terminate = [workspace, context](const Termination& termination) {
    workspace->get().terminate(termination, bounds_of(*context));
  };
  return lifecycle;
}

std::function<void(const Termination&)> workspace_terminate(
    const databricks::WorkspaceOptions& options, const std::shared_ptr<LifecycleContext>& context) {
  return [workspace = databricks::Workspace(options), context](const Termination& termination) {
    workspace.terminate(termination, bounds_of(*context));
  };
}

}  // namespace dbcache::cli
