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
  std::string create{};
  std::optional<std::string> check{};
  std::optional<std::string> terminate{};
};

/// What the CMDs need that run for a lifecycle. Outlived by no copy of it.
struct Workshop {
  Terminal& terminal;
  SignalWatch& signals;
  DatabaseInfo database;
  /// Before a CMD runs: what it writes has the terminal to itself.
  std::function<void()> make_room{};
  /// A check or a termination on the way to a lease must not outlast what the acquire may take.
  /// Nothing afterwards, when a lease is released.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  std::stop_token stop{};
};

/// Has what runs there use the same database, from whatever directory.
void name_database(const DatabaseInfo& database, Environment& environment);

/// A lifecycle whose functions run the CMDs. Those for the create command get the configuration on
/// standard input; what a CMD is told in its environment stands in docs/leases.md.
ClusterLifecycle make_lifecycle(const LifecycleCommands& commands,
                                const std::shared_ptr<Workshop>& workshop);

/// The `terminate` of a lifecycle alone.
std::function<void(const Termination&)> make_terminate(const std::string& command,
                                                       const std::shared_ptr<Workshop>& workshop);

}  // namespace dbcache::cli
