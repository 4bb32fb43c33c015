#pragma once

#include <cstdint>

#include "events/event.hpp"
#include "rows/tables.hpp"

namespace dbcache::projections {

/// Changes the tables as an event says: the only code that writes a projected row. Live writes,
/// replay and tests all run it. It reads no clock, no random number and no counter; `position` is
/// the event's, and becomes the `id` of a row that it makes. An event about a row that is not there
/// changes nothing.
void project(const events::Event& event, std::int64_t position, rows::Tables& tables);

}  // namespace dbcache::projections
