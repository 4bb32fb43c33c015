#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/shared_clusters.hpp>

#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "cli/process/lifecycle.hpp"
#include "cli/process/signals.hpp"
#include "cli/workspace_lifecycle.hpp"

namespace dbcache::cli {

/// The options of the commands that acquire a lease.
class AcquireArguments {
 public:
  void declare(Arguments& arguments);

  /// Throws InvalidArgument for values that make no sense.
  void check() const;

  [[nodiscard]] ClusterConfig read_config(Terminal& terminal) const;
  /// Of the CMDs; without a create CMD, of the configuration's workspace, but for the other CMDs.
  [[nodiscard]] ClusterLifecycle lifecycle(const ClusterConfig& config,
                                           const std::shared_ptr<LifecycleContext>& context) const;
  [[nodiscard]] AcquireOptions options() const;

 private:
  std::string config_;
  LifecycleCommands commands_;
  WorkspaceArguments workspace_;
  std::optional<double> timeout_;
  bool keep_ = false;
  bool hand_back_ = false;
  std::optional<std::string> run_;
  std::string on_create_failure_ = "try-again";
  std::vector<std::string> leave_out_;
};

/// For the end of their help.
inline constexpr std::string_view lifecycle_notes =
    "Without --create, DATABRICKS_HOST and DATABRICKS_TOKEN are all that is needed, or other\n"
    "credentials of Databricks: dbcache makes a cluster of the configuration there.\n\n"
    "/bin/sh runs each CMD, with DBCACHE_DATABASE set. The create CMD reads the configuration\n"
    "from stdin, and has DBCACHE_CONFIG_HASH, DBCACHE_CREATION_NAME and\n"
    "DBCACHE_IDEMPOTENCY_TOKEN set. It should give the token to Databricks. If an earlier\n"
    "creator died, DBCACHE_STARTED_CLUSTER_ID is the cluster that it had started. Record the\n"
    "id of a starting cluster with dbcache started.";

/// Acquires a lease with the CMDs of the command line, and shows for which process it waits. A
/// signal cancels it. `afterwards`: whether the command holds the lease, or exits.
ClusterLease acquire_lease(Context& context, SharedClusters& clusters,
                           const AcquireArguments& arguments, const ClusterConfig& config,
                           SignalThread& signals, Afterwards afterwards = Afterwards::go_on);

/// The value of an option in seconds. Throws InvalidArgument below `least` or above 1e9.
std::chrono::milliseconds seconds_of(const char* option, double seconds, double least);

/// How long a lease with a deadline lasts by default.
inline constexpr double default_ttl_seconds = 7200;

/// When a lease with a deadline ends.
std::optional<Timestamp> end_of_lease(SharedClusters& clusters, const std::string& name);

}  // namespace dbcache::cli
