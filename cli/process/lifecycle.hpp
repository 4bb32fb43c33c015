#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <dbcache/shared_clusters.hpp>

#include "cli/command.hpp"
#include "cli/process/environment.hpp"
#include "cli/process/signals.hpp"

namespace dbcache::cli {

/// The CMDs of --create, --check and --terminate.
struct LifecycleCommands {
  std::optional<std::string> create{};
  std::optional<std::string> check{};
  std::optional<std::string> terminate{};
};

/// What the CMDs of a lifecycle need. It must outlive every copy of the lifecycle.
struct LifecycleContext {
  Terminal& terminal;
  SignalThread& signals;
  DatabaseLocation database;
  /// Called before a CMD runs, to clear the terminal for its output.
  std::function<void()> before_command{};
  /// Bounds a check or a termination during acquire() by its timeout. Unset when a lease is
  /// released.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  std::stop_token stop{};
};

/// Makes a child process use the same database, from any directory.
void set_database_variables(const DatabaseLocation& database, Environment& environment);

/// A lifecycle whose functions run the CMDs that are given. Create gets the configuration on
/// standard input; docs/leases.md lists the environment variables of each CMD.
ClusterLifecycle make_lifecycle(const LifecycleCommands& commands,
                                const std::shared_ptr<LifecycleContext>& context);

/// The `terminate` function of a lifecycle.
std::function<void(const Termination&)> make_terminate(
    const std::string& command, const std::shared_ptr<LifecycleContext>& context);

}  // namespace dbcache::cli
