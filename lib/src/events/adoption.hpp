#pragma once

#include <dbcache/options.hpp>

#include "events/event.hpp"

namespace dbcache::events {

/// What the rows of an adopted database become: their import events, and what users are told.
struct Adoption {
  Events events;
  AdoptionReport report;
};

}  // namespace dbcache::events
