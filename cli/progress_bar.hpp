#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <ostream>

#include <dbcache/replay.hpp>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Shows the progress of a pass over the log on stderr, if that is a terminal and the pass takes
/// longer than half a second. The destructor erases it.
class ProgressBar {
 public:
  using Now = std::function<std::chrono::steady_clock::time_point()>;

  explicit ProgressBar(Terminal& terminal, Now now = std::chrono::steady_clock::now);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const LogProgress& progress);

 private:
  std::ostream& err_;
  bool is_terminal_;
  Now now_;
  std::chrono::steady_clock::time_point next_;  ///< When to draw again.
  bool drawn_ = false;
};

}  // namespace dbcache::cli
