#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// What a destructive command will remove.
struct PlannedRemoval {
  std::string title;
  std::string one;                ///< The word for one: `cluster`.
  std::string many;               ///< The word for several.
  std::string total;              ///< The key of their number: `Removed Clusters`.
  std::vector<std::string> what;  ///< One line for each.
  bool confirmed = false;         ///< --yes.
  std::function<Removal()> remove;
};

/// Prints the plan, asks for confirmation on a terminal, removes, and prints the number removed.
ExitCode confirm_and_remove(Context& context, const PlannedRemoval& planned);

/// The meaning of --force, and its help.
[[nodiscard]] HeldClusters held_clusters(bool force);
inline constexpr const char* force_help =
    "Also remove what live leases hold; those leases are lost";

/// Prints the number removed, and what was kept.
void print_removal(Context& context, const std::string& total, const Removal& removal);
[[nodiscard]] boost::json::object removal_json(const Removal& removal);

}  // namespace dbcache::cli
