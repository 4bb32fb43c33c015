#pragma once

#include <string>
#include <vector>

#include "commands/liveness.hpp"

namespace dbcache::commands {

/// In words, what prevents a move of the log: everything that live holders have. The other database
/// could not judge their locks and processes. Call it after `reap`.
std::vector<std::string> held_by_the_living(const Present& present);

}  // namespace dbcache::commands
