#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include <dbcache/time.hpp>

#include "rows/present.hpp"

namespace dbcache::commands {

using rows::Liveness;
using rows::Present;

/// If it cannot be judged whether a holder lives, it counts as dead after this time.
inline constexpr std::chrono::minutes staleness{30};

/// Clocks that are right differ by less: those of two servers, and the one of a server between the
/// beginning of a step and the moment when it may judge, before which another step may be
/// committed.
inline constexpr std::chrono::minutes most_clocks_differ{1};

/// Whether the deadline of a holder is still to come. A clock that was wrong when it was given, or
/// is wrong now, must not make it longer.
inline bool is_before_deadline(const rows::Holder& holder, Timestamp since,
                               const Present& present) {
  const auto& deadline = holder.deadline;
  if (deadline && !deadline->boot_id.empty()) {
    const auto boot = present.liveness.boot_time();
    if (boot && boot->boot_id == deadline->boot_id) {
      return boot->since_boot.count() < deadline->boot_until;
    }
  }
  // What was given in the future was given by a wrong clock.
  return (deadline ? deadline->given_at : since) <= present.now + most_clocks_differ &&
         present.now < *holder.until;
}

/// Whether a holder lives that has held something since the time `since`.
inline bool is_alive(const rows::Holder& holder, Timestamp since, const Present& present) {
  if (holder.until) return is_before_deadline(holder, since, present);
  switch (present.liveness.probe(holder)) {
    case Liveness::Verdict::alive:
      return true;
    case Liveness::Verdict::dead:
      return false;
    case Liveness::Verdict::unknown:
      break;
  }
  return present.now < since + staleness;
}

/// Whether a row fits, among rows that are read in small pages: most often the first one does.
template <class Row, class ReadPage, class Fits>
bool any_in_pages(const ReadPage& read_page, const Fits& fits) {
  constexpr std::size_t most = 64;
  for (rows::TableReader::Page page{rows::TableReader::from_the_first, 2};;
       page.limit = std::min(8 * page.limit, most)) {
    const std::vector<Row> found = read_page(page);
    for (const Row& row : found) {
      if (fits(row)) return true;
    }
    if (found.size() < page.limit) return false;
    page.after = found.back().id;
  }
}

}  // namespace dbcache::commands
