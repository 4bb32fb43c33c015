#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// What came of parsing: the command to run, or how it ended without one.
struct Parsed {
  Command* command = nullptr;
  ExitCode ended = ExitCode::done;
};

/// Sets `globals` and the commands' variables from the arguments. Answers --help, --version and
/// wrong usage itself.
Parsed parse(const std::vector<std::string>& arguments, const std::vector<CommandPointer>& commands,
             Globals& globals, Terminal& terminal);

}  // namespace dbcache::cli
