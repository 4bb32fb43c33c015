#pragma once

#include <string>
#include <vector>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Runs a command line, which excludes the program's name. Returns the exit code; throws only
/// std::bad_alloc. One call at a time in a process: the library logs to this terminal meanwhile.
int run_command_line(const std::vector<std::string>& arguments, Terminal& terminal);

}  // namespace dbcache::cli
