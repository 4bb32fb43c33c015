#pragma once

#include <cstdint>

#include "events/event.hpp"
#include "rows/tables.hpp"

namespace dbcache::projections {

/// Changes the tables as an event says. No other code writes a projected row: live writes, replay
/// and tests all run this. It reads no clock, random number or counter. `position` is that of the
/// event, and becomes the `id` of a row that the event makes. An event about a missing row changes
/// nothing.
void project(const events::Event& event, std::int64_t position, rows::Tables& tables);

}  // namespace dbcache::projections
