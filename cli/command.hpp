#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include <dbcache/cache_manager.hpp>
#include <dbcache/options.hpp>

#include "cli/arguments.hpp"
#include "cli/terminal.hpp"

namespace dbcache::cli {

/// What a process exits with. `run` passes on what its command exited with, which may be any code.
enum class ExitCode : int {
  done = 0,
  no = 1,      ///< The answer is no: drift found, no such cluster.
  usage = 2,   ///< Wrong usage.
  failed = 3,  ///< What was asked could not be done.
  // Those of `run`, which must not be taken for its command's: env(1)'s and timeout(1)'s.
  timed_out = 124,
  run_failed = 125,
  cannot_execute = 126,
  not_found = 127,
};

/// As a shell has it for a program that died of a signal, or ended for one: 128 and its number.
[[nodiscard]] constexpr ExitCode exit_code_of_signal(int signal) {
  return static_cast<ExitCode>(128 + signal);
}

/// The options that every command takes.
struct Globals {
  Options options;
  bool json = false;
  std::string log_level = "warn";
};

/// What a running command works with.
class Context {
 public:
  Context(Terminal& terminal, const Globals& globals);

  [[nodiscard]] Terminal& terminal() noexcept { return terminal_; }
  [[nodiscard]] std::ostream& out() noexcept { return terminal_.out; }

  /// Whether stdout is to carry one JSON document and nothing else.
  [[nodiscard]] bool json() const noexcept { return json_; }
  void print_json(const boost::json::value& document);

  /// For a command that sets an option of its own; before the first manager().
  [[nodiscard]] Options& options() noexcept { return options_; }

  /// Made when first asked for.
  [[nodiscard]] CacheManager& manager();
  [[nodiscard]] const CacheManager* manager_if_made() const noexcept;

  /// Says on stderr, as `dbcache: ...`, why the answer is no. Returns that answer.
  ExitCode no(std::string_view why);

  /// Asks, where there is somebody to ask. Without a terminal the answer is yes.
  [[nodiscard]] bool confirm(std::string_view question);
  [[nodiscard]] bool can_ask() const noexcept;

 private:
  Terminal& terminal_;
  Options options_;
  bool json_;
  std::optional<CacheManager> manager_;
};

/// Where `dbcache --help` lists a command.
enum class Group { cache, log, leases, shells };

struct Description {
  std::string name;
  Group group = Group::cache;
  std::string summary;  ///< One line.
  std::string example;  ///< A command line that works.
  std::string notes{};  ///< Lines for the end of its help.
};

/// A command: it declares what it takes, asks the library, and prints. It holds no rules.
class Command {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  virtual ~Command() = default;

  [[nodiscard]] virtual Description describe() const = 0;
  virtual void declare(Arguments&) {}
  virtual ExitCode run(Context& context) = 0;
};

using CommandPointer = std::unique_ptr<Command>;

}  // namespace dbcache::cli
