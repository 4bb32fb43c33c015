#pragma once

#include <optional>
#include <string>

#include <dbcache/cluster.hpp>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// The configuration in a file, or on stdin for `-`. Throws InvalidArgument for what cannot be read
/// or is no configuration.
ClusterConfig read_config(Terminal& terminal, const std::string& path);

}  // namespace dbcache::cli
