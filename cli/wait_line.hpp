#pragma once

#include <string>

#include <dbcache/shared_clusters.hpp>

#include "cli/terminal.hpp"

namespace dbcache::cli {

/// Shows on stderr which process an acquire waits for. On a terminal it redraws one line, which the
/// destructor erases; elsewhere it prints one line for each process.
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
  std::string last_printed_;
};

/// 90 s as `1 min 30 s`, rounded down to seconds.
std::string duration_text(std::chrono::microseconds duration);

/// `pid 4711 on build-7, label nightly`.
std::string holder_text(const HolderInfo& holder);

}  // namespace dbcache::cli
