#pragma once

#include <chrono>
#include <optional>
#include <ostream>
#include <stop_token>
#include <string>
#include <string_view>

#include "cli/process/child_process.hpp"
#include "cli/process/environment.hpp"
#include "cli/process/signals.hpp"

namespace dbcache::cli {

/// The last bytes of an output, however long it was.
class Tail {
 public:
  void add(std::string_view bytes);
  /// Without the white space around it; empty if there is none.
  [[nodiscard]] std::string last_line() const;
  /// The last lines that are not empty, in one: `first | second`.
  [[nodiscard]] std::string last_lines() const;
  [[nodiscard]] bool is_blank() const { return last_line().empty(); }

 private:
  [[nodiscard]] std::string_view whole_lines() const;

  std::string bytes_;
  bool cut_ = false;
};

/// A CMD of the user's, as /bin/sh runs it.
struct ShellCommand {
  std::string role{};  ///< For messages: `create`.
  std::string line{};
  Environment environment{};
  std::string input{};       ///< All of its standard input.
  int lock_descriptor = -1;  ///< Inherited, so that a CMD that outlives dbcache counts as alive.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  std::stop_token stop{};
};

/// What became of a CMD.
struct ShellOutcome {
  Ending ending;
  Tail out;
  Tail err;
};

/// Runs it in a process group of its own, which gets the signals that come meanwhile. Its stderr is
/// passed on to `err` as it comes. Past its deadline or when stopped, the whole group is told to
/// end with SIGTERM, and 10 s later with SIGKILL: throws Timeout or Cancelled then.
ShellOutcome run_shell(const ShellCommand& command, SignalWatch& signals, std::ostream& err);

/// `the create command 'CMD' ended with exit code 3: last | lines`.
std::string failure_text(const ShellCommand& command, const ShellOutcome& outcome);

}  // namespace dbcache::cli
