#pragma once

#include <vector>

#include "projections/memory_tables.hpp"
#include "store/chain.hpp"
#include "store/event_record.hpp"

namespace dbcache::store {

/// Builds the tables in memory from the events read so far.
class Rebuild {
 public:
  explicit Rebuild(std::int64_t gaps_until) : checker_(gaps_until) {}

  /// Throws CorruptDatabase for an event that was altered.
  void take(const std::vector<EventRecord>& page);

  /// Compares the tables of a database with these.
  [[nodiscard]] ReplayReport report(const rows::TableReader& live) const;

  [[nodiscard]] const projections::MemoryTables& tables() const { return tables_; }
  [[nodiscard]] LogHead head() const { return checker_.head(); }

 private:
  void take(const EventRecord& record);

  ChainChecker checker_;
  projections::MemoryTables tables_;
};

}  // namespace dbcache::store
