#pragma once

#include <dbcache/options.hpp>

#include "events/event.hpp"

namespace dbcache::events {

/// The import events for the rows of an adopted database, and the report for users.
struct Adoption {
  Events events;
  AdoptionReport report;
};

}  // namespace dbcache::events
