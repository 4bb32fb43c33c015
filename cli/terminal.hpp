#pragma once

#include <cstdint>
#include <istream>
#include <ostream>
#include <string_view>

#include <dbcache/time.hpp>

namespace dbcache::cli {

/// Erases the terminal's current line and leaves the cursor at its start.
inline constexpr std::string_view erase_line = "\r\x1b[K";

/// The streams and the surroundings of a command line. main.cpp makes one of the process; tests
/// make their own.
struct Terminal {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool no_color = false;        ///< NO_COLOR is set, or the terminal has no colours.
  Clock clock;                  ///< Empty: the library's clock.
  std::int64_t parent_pid = 0;  ///< The process that called the command.
};

}  // namespace dbcache::cli
