#pragma once

#include <vector>

#include <dbcache/history.hpp>
#include <dbcache/replay.hpp>

#include "events/event.hpp"
#include "projections/memory_tables.hpp"
#include "rows/tables.hpp"

namespace dbcache::projections {

/// Every place where `found` differs from `expected`, row by row.
std::vector<RowDifference> compare(const rows::TableReader& expected,
                                   const rows::TableReader& found);

/// What an event did to the row of its stream.
struct Effect {
  RowEffect effect = RowEffect::none;
  std::vector<ColumnChange> changes;
};

/// Projects an event and returns what it changed. `tables` must hold the row of the event's stream.
Effect project_and_compare(const events::Event& event, std::int64_t position, rows::Tables& tables);

}  // namespace dbcache::projections
