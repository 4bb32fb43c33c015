#pragma once

#include <ostream>
#include <string>

namespace dbcache::cli {

/// During its lifetime the library's log at `level` and above goes to `err`, escaped.
class LogToTerminal {
 public:
  LogToTerminal(std::ostream& err, const std::string& level);
  ~LogToTerminal();
  LogToTerminal(const LogToTerminal&) = delete;
  LogToTerminal& operator=(const LogToTerminal&) = delete;
};

}  // namespace dbcache::cli
