#pragma once

#include <string>
#include <vector>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Runs a command line, without the program's name. Returns the exit code; throws nothing but for
/// want of memory. One at a time in a process: the library's log goes to this terminal meanwhile.
int run(const std::vector<std::string>& arguments, Terminal& terminal);

}  // namespace dbcache::cli
