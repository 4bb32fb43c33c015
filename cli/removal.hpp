#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// What a destructive command is about to do.
struct Removal {
  std::string title;
  std::string one;                       ///< What one thing is called: `cluster`.
  std::string many;                      ///< And several.
  std::string total;                     ///< What their number is called: `Removed Clusters`.
  std::vector<std::string> what;         ///< The things, one a line.
  bool confirmed = false;                ///< --yes.
  std::function<std::int64_t()> remove;  ///< Returns how many went.
};

/// Says what is to go, asks where there is somebody to ask, removes, and says how many went.
ExitCode remove_as_asked(Context& context, const Removal& removal);

}  // namespace dbcache::cli
