#pragma once

#include <cstdint>
#include <istream>
#include <ostream>

#include <dbcache/time.hpp>

namespace dbcache::cli {

/// What a command line has around it. main.cpp makes it from the process; tests make their own.
struct Terminal {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool no_color = false;        ///< NO_COLOR is set, or the terminal knows no colours.
  Clock clock;                  ///< Empty: the library's.
  std::int64_t parent_pid = 0;  ///< Of the process that called the command.
};

}  // namespace dbcache::cli
