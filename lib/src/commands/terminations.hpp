#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"
#include "commands/names.hpp"

// The rules of the table `terminations`: which clusters are owed, and who may terminate them. Pure.
namespace dbcache::commands {

/// What must be terminated: a cluster, or what a creation with this token may have left.
struct Owed {
  std::optional<std::string> cluster_id;
  std::optional<std::string> idempotency_token;
  std::string config_hash;
  std::optional<std::string> host;
  events::OwedReason reason = events::OwedReason::handed_back;
};

/// Adds a pending termination, unless it exists already.
void owe(Owed owed, const rows::TableReader& rows, Timestamp now, Events& events);

/// Whether an entry (also one being created) or a lease names a cluster.
bool is_named(const std::string& cluster_id, const Present& present);

/// Whether anything but one configuration's entry and its creation names a cluster.
bool others_have(const std::string& cluster_id, const std::string& but, const Present& present);

/// The same as owe(), unless the cluster is named.
void owe_unless_named(Owed owed, const Present& present, Events& events);

/// The same if an entry of that configuration gives the cluster up, and no other entry that
/// `acquire` made names it. That one would hand it back later. Any other lease only delays the
/// claim of the termination.
void owe_unless_others_name(Owed owed, const rows::TableReader& rows, Timestamp now,
                            Events& events);

/// Whether another entry that `acquire` made has this cluster, and `events` do not remove it.
bool others_keep(const std::string& cluster_id, const std::string& but,
                 const rows::TableReader& rows, const Events& events);

/// Cancels the pending termination of a cluster that is used again. Throws Busy if the termination
/// has begun, since the cluster may be gone by now.
void reclaim(const std::string& cluster_id, const rows::TableReader& rows, Events& events);

/// Takes the oldest pending termination that this process can settle. One whose process died is
/// taken again once a sweep has found that.
struct ClaimTermination {
  rows::Holder holder;
  std::optional<std::string> subject{};  ///< Takes only this one.
  /// By a step on a lease, which leaves out what failed a short time ago. A call that asks to
  /// settle tries all at once.
  bool in_passing = false;
  bool every_host = false;
  std::optional<std::string> host;  ///< Whose pending terminations, unless `every_host`.
  std::set<std::string> skip;       ///< Subjects that were tried already.
};
Decision<std::optional<rows::PendingTermination>> decide(const ClaimTermination& command,
                                                         const Present& present);

/// How long steps on leases leave a pending termination alone after the last of so many attempts
/// has failed: 1, 2, 4 ... minutes, at most 1 hour. A cluster that cannot be terminated must not
/// make each of them wait; after an outage, however long, an attempt is at most 1 hour away.
[[nodiscard]] std::chrono::minutes pause_after(std::int64_t attempts);

/// The outcome of an attempt. Changes nothing if the attempt was reaped meanwhile, or is not of
/// this log.
struct FinishTermination {
  std::string subject;
  EventName termination;
  std::optional<std::string> error;
};
Decision<> decide(const FinishTermination& command, const Present& present);

}  // namespace dbcache::commands
