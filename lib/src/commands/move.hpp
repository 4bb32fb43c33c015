#pragma once

#include <string>
#include <vector>

#include "commands/liveness.hpp"

namespace dbcache::commands {

/// What stands in the way of moving the log elsewhere, in words: what somebody who lives holds, by
/// a lock or a process that the other database cannot judge. The dead have been reaped.
std::vector<std::string> held_by_the_living(const Present& present);

}  // namespace dbcache::commands
