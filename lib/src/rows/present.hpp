#pragma once

#include <optional>

#include <dbcache/time.hpp>

#include "rows/event_name.hpp"
#include "rows/lease_rows.hpp"
#include "rows/tables.hpp"
#include "system/process.hpp"

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

  /// The present by the clock of this machine's boot, where every holder runs on this machine and
  /// the caller brings no clock.
  [[nodiscard]] virtual std::optional<system::BootTime> boot_time() const { return std::nullopt; }

  /// Holders of all kinds will be probed: an engine may look at all of them at once.
  virtual void expect_many() const {}
};

/// What a decision sees: the rows, which holders live, the time, and what names stand for.
struct Present {
  const TableReader& rows;
  const Liveness& liveness;
  Timestamp now;
  const EventNames& names;
};

}  // namespace dbcache::rows
