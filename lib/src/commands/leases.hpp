#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"
#include "commands/names.hpp"
#include "input/input.hpp"

// The rules of leases: decide(command, present) -> Decision. Pure. Every command on leases runs
// after `reap` and before `hand_back`, in one transaction (reach.hpp).
namespace dbcache::commands {

using rows::Holder;

/// Takes from all the dead what they held: leases, creations, checks, terminations, memberships of
/// runs. Clusters that a dead creation may have made become owed, except for the configuration
/// `taken_over`: the caller continues that creation in the same transaction.
Events reap(const Present& present, const std::string& taken_over = "");

/// Makes clusters owed that `acquire` created and nobody needs: if the policy is to hand back, or
/// if they have expired. Removes entries of DATABRICKS_CLUSTER_ID that nobody holds. Spares the
/// entry `but`.
Events hand_back(const Present& present, const std::string& but = "");

/// One step of an acquire.
struct Acquire {
  std::string config_hash;
  Holder holder;  ///< Its lock must be held before the decision.
  std::optional<std::string> host;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  std::string new_token;  ///< For a creation that does not continue an earlier one.
  bool checks = false;    ///< The caller can check whether a cluster still runs.
  /// For so long after the cluster was known to run the caller joins it without a check.
  std::chrono::milliseconds check_counts_for{0};
  std::optional<std::string> checked;  ///< The cluster that the caller just found running.
  /// The creation that the caller waited for, if the caller fails when that creation fails.
  std::optional<std::int64_t> fails_with;
  /// The creation that the caller waited for last. If it failed for good, so does the caller.
  std::optional<std::int64_t> waited_for{};
  std::optional<std::string> fixed_cluster;  ///< DATABRICKS_CLUSTER_ID.
};

/// The result of a step. The name of its LeaseGranted, CreationStarted or CheckStarted is that of
/// the lease, creation or check that the caller now has.
struct AcquireStep {
  enum class Next {
    granted,
    create,  ///< The caller is the creator.
    check,   ///< The caller must check the cluster.
    wait_for_creator,
    wait_for_checker,
    creation_failed,  ///< The creation that the caller waited for failed, with `error`.
  };
  Next next = Next::granted;
  std::optional<std::string>
      cluster_id;                 ///< Granted, due for a check, or started by an earlier creator.
  bool others_have_it = false;    ///< What that one started is another configuration's cluster too.
  std::string idempotency_token;  ///< For the creation.
  bool continues_earlier = false;  ///< An earlier creator may have used the token.
  std::optional<Holder> awaited;
  std::optional<std::int64_t> creation;  ///< The awaited one.
  Timestamp since{};
  std::string error;
};
Decision<AcquireStep> decide(const Acquire& command, const Present& present);

/// The result of a command that only the current creator may give.
struct CreatorOutcome {
  bool stale = false;  ///< Another took over, or it was ended by force. What it made is owed.
  /// Not `ours`: the creation is not of this log, which learns nothing of what it made.
  Fit fit = Fit::ours;
  bool is_named = false;  ///< This log has that cluster all the same.
  /// What was started is another configuration's cluster too.
  bool others_have_it = false;
};

/// The creator has started a cluster, which is not ready yet.
struct RecordStarted {
  std::string config_hash;
  EventName creation;
  std::string cluster_id;
  std::string idempotency_token{};  ///< Of that creation.
};
Decision<CreatorOutcome> decide(const RecordStarted& command, const Present& present);

/// The cluster is ready: it is cached and leased to its creator.
struct FinishCreation {
  std::string config_hash;
  EventName creation;
  input::ClusterInput input;
  std::chrono::microseconds default_expiry{};
  Holder holder;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  std::optional<std::string> host;
  std::string idempotency_token{};
};
Decision<CreatorOutcome> decide(const FinishCreation& command, const Present& present);

/// The creation failed. If it made a cluster all the same, that is owed.
struct FailCreation {
  std::string config_hash;
  EventName creation;
  std::string error;
  std::optional<std::string> cluster_id{};  ///< What it made, if known.
  std::string idempotency_token{};          ///< Of that creation.
  std::optional<std::string> started{};     ///< What it said that it started.
  bool for_good = false;                    ///< Another try cannot mend it.
  bool nothing_started = false;             ///< The token stands for no cluster.
};
Decision<CreatorOutcome> decide(const FailCreation& command, const Present& present);

/// Releases a lease. If it is not of this log, throws LeaseLost in its holder, and NotFound
/// elsewhere.
struct EndLease {
  EventName lease;
  /// Its configuration, where the caller knows it: a lease of another one is not ended.
  std::optional<std::string> config_hash{};
  std::string cluster_id{};  ///< Its cluster, where the caller knows it.
  /// The caller is not the holder. A name without a mark must then be that of a lease on the
  /// cluster.
  bool by_name = false;
};
/// Throws NotFound if a lease is given by its number alone, and it is not on the cluster that the
/// caller names, if any.
void require_cluster(const EventName& lease, const std::string& named,
                     const std::string& cluster_id);
struct LeaseEnded {
  bool was_held = false;
  bool was_last = false;
  std::int64_t usage_count = 0;
  std::string config_hash;
  std::string cluster_id;
};
Decision<LeaseEnded> decide(const EndLease& command, const Present& present);

/// Gives a lease a deadline, or a later one. Throws NotFound if it has ended or is not of this log,
/// and InvalidArgument if a process holds it. `convert` is for that process itself: it turns the
/// lease into one with a deadline, and throws LeaseLost if the lease has ended.
struct RenewLease {
  EventName lease;
  Timestamp until{};
  bool convert = false;
  std::string cluster_id{};  ///< As in EndLease. Only who converts is the holder.
};
Decision<> decide(const RenewLease& command, const Present& present);

/// Records a use of a cluster under a lease. Throws LeaseLost if the lease has ended.
struct NoteUse {
  EventName lease;
  std::string by;
  std::string cluster_id{};  ///< Its cluster, where the caller knows it.
};
Decision<> decide(const NoteUse& command, const Present& present);

/// A holder begins to check whether its cluster still runs. Changes nothing if its lease has ended,
/// or if another check is under way. Throws LeaseLost if the lease is not of this log.
struct BeginCheck {
  EventName lease;
  Holder holder;
  std::string cluster_id{};  ///< Its cluster, where the caller knows it.
};
struct CheckBegun {
  bool begun = false;
  bool lease_ended = false;
  std::optional<Holder> awaited;
};
Decision<CheckBegun> decide(const BeginCheck& command, const Present& present);

/// The answer of a check. `dead` counts only if the entry still has this check and this cluster:
/// then the row, the leases and the entry go.
struct AnswerCheck {
  std::string config_hash;
  EventName check;
  std::string cluster_id;
  events::CheckAnswer answer = events::CheckAnswer::alive;
  std::optional<std::string> error;
};
Decision<> decide(const AnswerCheck& command, const Present& present);

/// A holder reports its cluster dead and has no `check`: the cluster becomes owed. Throws LeaseLost
/// if the lease is not of this log.
struct BelieveDead {
  EventName lease;
  std::string cluster_id{};  ///< Its cluster, where the caller knows it.
};
Decision<bool> decide(const BelieveDead& command, const Present& present);

struct JoinRun {
  std::string run;
  std::string kind;
  std::optional<std::string> name;
  Holder holder;
};
Decision<> decide(const JoinRun& command, const Present& present);

/// The result says whether the participant is of this log.
struct LeaveRun {
  EventName participant;
};
Decision<Fit> decide(const LeaveRun& command, const Present& present);

/// How an entry's usage count is made up.
struct Usage {
  std::int64_t leases = 0;
  std::int64_t creations = 0;  ///< 0 or 1.
  std::int64_t documented = 0;
};
Usage usage_of(const RegistryEntry& entry, const rows::TableReader& rows);

/// Whether a lease, or a creation by `acquire`, holds the entry. Call it after `reap`.
bool is_held(const std::string& config_hash, const rows::TableReader& rows);

/// Whether anyone alive has a lease on the cluster, under whichever configuration.
bool is_cluster_held(const std::string& cluster_id, const Present& present);

/// Ends the leases and the creation of an entry as lost.
void lose_leases(const RegistryEntry& entry, events::LeaseLossReason reason, const Present& present,
                 Events& events);

/// The live process, if any, that creates the cluster of an entry in the documented way
/// (`register`).
std::optional<Holder> documented_creator(const RegistryEntry& entry,
                                         const std::optional<rows::Share>& share,
                                         const Present& present);

/// Removes an entry, and ends its leases as lost. If `acquire` created its cluster, the cluster
/// becomes owed with this reason.
void drop_entry(const RegistryEntry& entry, events::EntryRemovalReason removal,
                events::OwedReason owed, const Present& present, Events& events);

}  // namespace dbcache::commands
