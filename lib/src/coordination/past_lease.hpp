#pragma once

#include <optional>

#include <dbcache/lease.hpp>

#include "events/event.hpp"
#include "rows/event_name.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

/// Says in the report of a release how a lease of this log had ended before, and what became of its
/// cluster. Reads the stream of its configuration from the grant on. Returns the grant; nothing if
/// the log has no such lease.
std::optional<events::LeaseGranted> describe_past_lease(const store::Store& store,
                                                        const rows::EventName& lease,
                                                        ReleaseReport& report);

}  // namespace dbcache::coordination
