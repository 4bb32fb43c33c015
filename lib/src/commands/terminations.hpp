#pragma once

#include <optional>
#include <set>
#include <string>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"

// The rules of the table `terminations`: which clusters are owed, and who may terminate them. Pure.
namespace dbcache::commands {

/// What a termination is owed for: a cluster, or what a creation with this token may have left.
struct Owed {
  std::optional<std::string> cluster_id;
  std::optional<std::string> idempotency_token;
  std::string config_hash;
  std::optional<std::string> host;
  events::OwedReason reason = events::OwedReason::handed_back;
};

/// Adds the debt, unless it is known already.
void owe(Owed owed, const rows::TableReader& rows, Timestamp now, Events& events);

/// The same, unless an entry, a creation or a lease names the cluster.
void owe_unless_named(Owed owed, const rows::TableReader& rows, Timestamp now, Events& events);

/// The same where it is an entry of that configuration that gives the cluster up: what another
/// entry has by `acquire` is that one's to give back. A lease of any other kind only delays the
/// claim.
void owe_unless_others_name(Owed owed, const rows::TableReader& rows, Timestamp now,
                            Events& events);

/// Whether another entry that `acquire` made has this cluster, and is not removed by what was
/// decided so far.
bool others_keep(const std::string& cluster_id, const std::string& but,
                 const rows::TableReader& rows, const Events& events);

/// Whether an entry (a creation's too) or a lease names a cluster; `but` is an entry that does not
/// count.
bool is_named(const std::string& cluster_id, const std::string& but, const rows::TableReader& rows);

/// Cancels what is owed for a cluster that is to be used again. Throws Busy where its termination
/// has begun: the cluster may be gone by now.
void reclaim(const std::string& cluster_id, const rows::TableReader& rows, Events& events);

/// Takes the oldest debt that this process can settle.
struct ClaimTermination {
  rows::Holder holder;
  std::optional<std::string> subject{};  ///< This one alone.
  bool every_host = false;
  std::optional<std::string> host;  ///< Which debts, unless every host's.
  std::set<std::string> skip;       ///< Subjects that were tried already.
};
Decision<std::optional<rows::Debt>> decide(const ClaimTermination& command, const Present& present);

/// How an attempt went. An attempt that was given up for dead meanwhile changes nothing.
struct FinishTermination {
  std::string subject;
  std::int64_t termination = 0;
  std::optional<std::string> error;
};
Decision<> decide(const FinishTermination& command, const Present& present);

}  // namespace dbcache::commands
