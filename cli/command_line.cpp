#include "cli/command_line.hpp"

#include <exception>
#include <functional>

#include <dbcache/errors.hpp>

#include "cli/command.hpp"
#include "cli/commands/all.hpp"
#include "cli/log_to_terminal.hpp"
#include "cli/parser.hpp"
#include "cli/print.hpp"
#include "cli/print_adoption.hpp"

namespace dbcache::cli {
namespace {

/// Errors, said on stderr, as exit codes.
ExitCode guarded(Terminal& terminal, const std::function<ExitCode()>& action) {
  try {
    return action();
  } catch (const InvalidArgument& error) {
    complain(terminal, error.what());
    return ExitCode::usage;
  } catch (const NotFound& error) {
    complain(terminal, error.what());
    return ExitCode::no;
  } catch (const std::exception& error) {
    complain(terminal, error.what());
    return ExitCode::failed;
  }
}

ExitCode run_command(Command& command, const Globals& globals, Terminal& terminal) {
  const LogToTerminal log(terminal.err, globals.log_level);
  Context context(terminal, globals);
  const ExitCode code = guarded(terminal, [&] { return command.run(context); });
  const ExitCode reported = guarded(terminal, [&] {
    report_adoption(context);
    return ExitCode::done;
  });
  return code == ExitCode::done ? reported : code;
}

}  // namespace

int run(const std::vector<std::string>& arguments, Terminal& terminal) {
  ExitCode code = guarded(terminal, [&] {
    const std::vector<CommandPointer> commands = make_commands();
    Globals globals;
    const Parsed parsed = parse(arguments, commands, globals, terminal);
    if (parsed.command == nullptr) return parsed.ended;
    return run_command(*parsed.command, globals, terminal);
  });
  terminal.out.flush();
  if (!terminal.out) {
    complain(terminal, "what was done could not be printed: is stdout closed, or its disk full?");
    code = ExitCode::failed;
  }
  return static_cast<int>(code);
}

}  // namespace dbcache::cli
