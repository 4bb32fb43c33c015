#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "cli/command_line.hpp"

namespace {

/// Opens those of descriptors 0 to 2 that the caller closed, so that using them fails. Otherwise
/// the next file opened would take the number, and output for stdout would go into the database.
void fill_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    // open() returns the lowest free number, and the lower ones are in use.
    if (::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor) {
      std::abort();
    }
  }
}

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);  // there is no other thread yet
  return value != nullptr ? value : "";
}

bool wants_no_color() {
  const std::string_view terminal = environment("TERM");
  return !environment("NO_COLOR").empty() || terminal.empty() || terminal == "dumb";
}

}  // namespace

int main(int count, char** values) {
  fill_standard_descriptors();
  std::ios::sync_with_stdio(false);
  dbcache::cli::Terminal terminal{
      .in = std::cin,
      .out = std::cout,
      .err = std::cerr,
      .in_is_terminal = ::isatty(STDIN_FILENO) == 1,
      .out_is_terminal = ::isatty(STDOUT_FILENO) == 1,
      .err_is_terminal = ::isatty(STDERR_FILENO) == 1,
      .no_color = wants_no_color(),
      .clock = {},
      .parent_pid = ::getppid(),
  };
  std::vector<std::string> arguments(values, values + count);
  if (!arguments.empty()) arguments.erase(arguments.begin());
  return dbcache::cli::run_command_line(arguments, terminal);
}
