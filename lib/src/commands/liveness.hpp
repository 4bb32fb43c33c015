#pragma once

#include <chrono>

#include <dbcache/time.hpp>

#include "rows/lease_rows.hpp"
#include "rows/tables.hpp"

namespace dbcache::commands {

/// Tells whether who holds something still lives. An engine answers; tests have their own.
class Liveness {
 public:
  enum class Verdict { alive, dead, unknown };

  Liveness() = default;
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;
  virtual ~Liveness() = default;

  [[nodiscard]] virtual Verdict probe(const rows::Holder& holder) const = 0;
};

/// What a decision on leases looks at: the rows, who lives, and the time.
struct Present {
  const rows::TableReader& rows;
  const Liveness& liveness;
  Timestamp now;
};

/// Who cannot be judged is taken for dead after so long.
inline constexpr std::chrono::minutes staleness{30};

/// Whether a holder still holds what it has had since then.
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
