#pragma once

#include <dbcache/time.hpp>

#include "rows/lease_rows.hpp"
#include "rows/tables.hpp"

namespace dbcache::rows {

/// Tells whether a holder still lives. An engine answers; tests have an implementation of their
/// own.
class Liveness {
 public:
  enum class Verdict { alive, dead, unknown };

  Liveness() = default;
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;
  virtual ~Liveness() = default;

  [[nodiscard]] virtual Verdict probe(const Holder& holder) const = 0;
};

/// What a decision looks at: the rows, who lives, and the time.
struct Present {
  const TableReader& rows;
  const Liveness& liveness;
  Timestamp now;
};

}  // namespace dbcache::rows
