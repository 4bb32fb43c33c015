#pragma once

#include <string>

#include <dbcache/shared_clusters.hpp>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Says on stderr for whom an acquire waits: on a terminal in a line that is drawn over, and gone
/// without a trace when destroyed; elsewhere once for each whom it waits for.
class WaitLine {
 public:
  explicit WaitLine(Terminal& terminal) : terminal_(terminal) {}
  ~WaitLine() { erase(); }
  WaitLine(const WaitLine&) = delete;
  WaitLine& operator=(const WaitLine&) = delete;

  void show(const WaitProgress& progress);
  void erase();

 private:
  [[nodiscard]] Timestamp now() const;

  Terminal& terminal_;
  bool drawn_ = false;
  std::string said_;
};

/// `90 s` as `1 min 30 s`, without a fraction.
std::string duration_text(std::chrono::microseconds duration);

/// `pid 4711 on build-7, label nightly`.
std::string holder_text(const HolderInfo& holder);

}  // namespace dbcache::cli
