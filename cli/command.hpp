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

/// The exit codes of dbcache. `run` passes on the code of its COMMAND, which may be any.
enum class ExitCode : int {
  done = 0,
  no = 1,      ///< The answer is no: drift found, no such cluster.
  usage = 2,   ///< Wrong usage.
  failed = 3,  ///< The command could not do its work.
  // `run` uses those of env(1) and timeout(1), so that they are not taken for its COMMAND's.
  timed_out = 124,
  run_failed = 125,
  cannot_execute = 126,
  not_found = 127,
};

/// The shell's exit code for a program that a signal killed or stopped: 128 plus its number.
[[nodiscard]] constexpr ExitCode exit_code_of_signal(int signal) {
  return static_cast<ExitCode>(128 + signal);
}

/// The options of every command.
struct Globals {
  Options options;
  bool json = false;
  std::string log_level = "warn";
};

/// The terminal, the options and the cache manager of a running command.
class Context {
 public:
  Context(Terminal& terminal, const Globals& globals);

  [[nodiscard]] Terminal& terminal() noexcept { return terminal_; }
  [[nodiscard]] std::ostream& out() noexcept { return terminal_.out; }

  /// Whether stdout must carry one JSON document and nothing else.
  [[nodiscard]] bool json() const noexcept { return json_; }
  void print_json(const boost::json::value& document);

  /// A command may change them before its first call of manager().
  [[nodiscard]] Options& options() noexcept { return options_; }

  /// The first call makes it.
  [[nodiscard]] CacheManager& manager();
  [[nodiscard]] const CacheManager* manager_if_made() const noexcept;

  /// Prints on stderr, as `dbcache: ...`, why the answer is no. Returns ExitCode::no.
  ExitCode answer_no(std::string_view why);

  /// Asks the question on a terminal. Without one the answer is yes.
  [[nodiscard]] bool confirm(std::string_view question);
  [[nodiscard]] bool can_ask() const noexcept;

 private:
  Terminal& terminal_;
  Options options_;
  bool json_;
  std::optional<CacheManager> manager_;
};

/// The section of `dbcache --help` that lists a command.
enum class Group { cache, log, leases, shells };

struct Description {
  std::string name;
  Group group = Group::cache;
  std::string summary;  ///< One line.
  std::string example;  ///< A command line that works.
  std::string notes{};  ///< Lines at the end of its help.
};

/// A command declares its arguments, calls the library and prints. It holds no rules of its own.
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
