#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// The result of parsing: the command to run, or an exit code if there is none to run.
struct Parsed {
  Command* command = nullptr;
  ExitCode code = ExitCode::done;  ///< Without a command.
};

/// Sets `globals` and the commands' variables from the arguments. Handles --help, --version and
/// wrong usage itself.
Parsed parse(const std::vector<std::string>& arguments, const std::vector<CommandPointer>& commands,
             Globals& globals, Terminal& terminal);

}  // namespace dbcache::cli
