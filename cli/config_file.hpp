#pragma once

#include <optional>
#include <string>

#include <dbcache/cluster.hpp>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Reads the configuration from a file, or from stdin for `-`. Throws InvalidArgument if it cannot
/// be read or is not a configuration.
ClusterConfig read_config(Terminal& terminal, const std::string& path);

}  // namespace dbcache::cli
