#pragma once

#include <optional>
#include <string>

#include <dbcache/lease.hpp>

#include "commands/leases.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

/// Says in the report of a release by name how the lease had ended before, and what became of its
/// cluster. Reads the stream of its configuration from the grant on. Returns the cluster's host.
/// Throws NotFound if the number that stands alone is that of another cluster's lease; says nothing
/// of a lease that is not of this log.
std::optional<std::string> describe_past_lease(const store::Store& store,
                                               const commands::EndLease& command,
                                               ReleaseReport& report);

}  // namespace dbcache::coordination
