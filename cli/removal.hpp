#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// What a destructive command is about to do.
struct PlannedRemoval {
  std::string title;
  std::string one;                  ///< What one thing is called: `cluster`.
  std::string many;                 ///< And several.
  std::string total;                ///< What their number is called: `Removed Clusters`.
  std::vector<std::string> what;    ///< The things, one a line.
  bool confirmed = false;           ///< --yes.
  std::function<Removal()> remove;  ///< Returns what came of it.
};

/// Says what is to go, asks where there is somebody to ask, removes, and says how many went.
ExitCode remove_as_asked(Context& context, const PlannedRemoval& planned);

/// What --force stands for, and its help.
[[nodiscard]] HeldClusters held_clusters(bool force);
inline constexpr const char* force_help = "Also what live leases hold: their holders lose it";

/// The number that went, and what was left alone.
void print_removal(Context& context, const std::string& total, const Removal& removal);
[[nodiscard]] boost::json::object removal_document(const Removal& removal);

}  // namespace dbcache::cli
