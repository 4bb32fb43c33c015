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

/// Prints an error of `action` on stderr and returns its exit code.
ExitCode with_exit_code(Terminal& terminal, const std::function<ExitCode()>& action) {
  try {
    return action();
  } catch (const InvalidArgument& error) {
    print_diagnostic(terminal, error.what());
    return ExitCode::usage;
  } catch (const NotFound& error) {
    print_diagnostic(terminal, error.what());
    return ExitCode::no;
  } catch (const std::exception& error) {
    print_diagnostic(terminal, error.what());
    return ExitCode::failed;
  }
}

ExitCode run_command(Command& command, const Globals& globals, Terminal& terminal) {
  const LogToTerminal log(terminal.err, globals.log_level);
  Context context(terminal, globals);
  const ExitCode code = with_exit_code(terminal, [&] { return command.run(context); });
  const ExitCode reported = with_exit_code(terminal, [&] {
    report_adoption(context);
    return ExitCode::done;
  });
  return code == ExitCode::done ? reported : code;
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, Terminal& terminal) {
  ExitCode code = with_exit_code(terminal, [&] {
    const std::vector<CommandPointer> commands = make_commands();
    Globals globals;
    const Parsed parsed = parse(arguments, commands, globals, terminal);
    if (parsed.command == nullptr) return parsed.code;
    return run_command(*parsed.command, globals, terminal);
  });
  terminal.out.flush();
  if (!terminal.out) {
    print_diagnostic(terminal,
                     "the command ran, but its output could not be written; check that stdout is "
                     "open and its disk is not full");
    code = ExitCode::failed;
  }
  return static_cast<int>(code);
}

}  // namespace dbcache::cli
