#pragma once

#include <dbcache/time.hpp>

#include "rows/lease_rows.hpp"
#include "rows/tables.hpp"

namespace dbcache::rows {

/// Answers whether a holder still lives. Engines implement it, and tests do so for themselves.
class Liveness {
 public:
  enum class Verdict { alive, dead, unknown };

  Liveness() = default;
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;
  virtual ~Liveness() = default;

  [[nodiscard]] virtual Verdict probe(const Holder& holder) const = 0;

  /// Holders of all kinds will be probed: an engine may look at all of them at once.
  virtual void expect_many() const {}
};

/// What a decision sees: the rows, which holders live, and the time.
struct Present {
  const TableReader& rows;
  const Liveness& liveness;
  Timestamp now;
};

}  // namespace dbcache::rows
