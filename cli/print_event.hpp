#pragma once

#include <dbcache/history.hpp>

#include "cli/command.hpp"

namespace dbcache::cli {

/// Prints an event for people: when, which type, which stream, who, and what it changed.
void print_event(Context& context, const RecordedEvent& event);

}  // namespace dbcache::cli
