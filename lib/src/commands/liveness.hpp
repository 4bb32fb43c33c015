#pragma once

#include <chrono>

#include <dbcache/time.hpp>

#include "rows/present.hpp"

namespace dbcache::commands {

using rows::Liveness;
using rows::Present;

/// If it cannot be judged whether a holder lives, it counts as dead after this time.
inline constexpr std::chrono::minutes staleness{30};

/// Whether a holder lives that has held something since the time `since`.
inline bool is_alive(const rows::Holder& holder, Timestamp since, const Present& present) {
  if (holder.until) return present.now < *holder.until;
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

}  // namespace dbcache::commands
