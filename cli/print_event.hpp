#pragma once

#include <dbcache/history.hpp>

#include "cli/command.hpp"

namespace dbcache::cli {

/// An event as people read it: when, what, about what, who, and what it changed.
void print_event(Context& context, const RecordedEvent& event);

}  // namespace dbcache::cli
