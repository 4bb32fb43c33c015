#pragma once

#include <chrono>
#include <optional>
#include <ostream>
#include <stop_token>
#include <string>

#include "cli/process/child_process.hpp"
#include "cli/process/environment.hpp"
#include "cli/process/output_tail.hpp"
#include "cli/process/signals.hpp"

namespace dbcache::cli {

/// A CMD of the command line, which /bin/sh runs.
struct ShellCommand {
  std::string role{};  ///< For messages: `create`.
  std::string line{};
  Environment environment{};
  std::string input{};       ///< The whole of its standard input.
  int lock_descriptor = -1;  ///< The CMD inherits it, and keeps the lock if it outlives dbcache.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  std::stop_token stop{};
};

/// The result of a CMD.
struct ShellOutcome {
  ExitStatus status;
  OutputTail out;
  OutputTail err;
};

/// Runs a CMD in a process group of its own, and passes the signals that arrive on to that group.
/// Copies its stderr to `err` as it arrives. At the deadline, or on a stop request, it sends
/// SIGTERM to the group, and SIGKILL 10 s later; it throws Timeout or Cancelled if the CMD then
/// fails.
ShellOutcome run_shell(const ShellCommand& command, SignalThread& signals, std::ostream& err);

/// `the create command 'CMD' ended with exit code 3: last | lines`.
std::string failure_text(const ShellCommand& command, const ShellOutcome& outcome);

}  // namespace dbcache::cli
