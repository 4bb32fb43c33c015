#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"
#include "input/input.hpp"

// The rules of leases: (command, rows, who lives, present) -> events. Pure. Every command on leases
// is decided after `reap` and followed by `hand_back`, in one transaction.
namespace dbcache::commands {

using rows::Holder;

/// The dead lose what they held: leases, creations, checks, terminations, places in runs. A
/// creation of `taken_over` is only ended: the caller goes on with it in the same transaction. Of
/// others what they may have made is owed.
Events reap(const Present& present, const std::string& taken_over = "");

/// Clusters that `acquire` created and nobody needs become owed: those to be handed back, and those
/// past their expiry. Entries of DATABRICKS_CLUSTER_ID that nobody holds go. The entry `but` stays.
Events hand_back(const Present& present, const std::string& but = "");

/// One step of an acquire.
struct Acquire {
  std::string config_hash;
  Holder holder;  ///< Its lock is held already.
  std::optional<std::string> host;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  std::string new_token;               ///< For a creation, if one begins anew.
  bool checks = false;                 ///< The caller can tell whether a cluster still runs...
  std::optional<std::string> checked;  ///< ... and has just been told that this one does.
  /// The creation that the caller waited for, if its failure is to be the caller's.
  std::optional<std::int64_t> fails_with;
  std::optional<std::string> fixed_cluster;  ///< DATABRICKS_CLUSTER_ID.
};

/// What the step came to. The position of its LeaseGranted, CreationStarted or CheckStarted is the
/// number of what the caller has by it.
struct AcquireStep {
  enum class Turn {
    granted,
    create,  ///< The caller is the creator.
    check,   ///< The caller is to check the cluster.
    wait_for_creator,
    wait_for_checker,
    creation_failed,  ///< The creation that the caller waited for, with `error`.
  };
  Turn turn = Turn::granted;
  std::optional<std::string>
      cluster_id;                 ///< Granted, to be checked, or started by an earlier creator.
  std::string idempotency_token;  ///< To create with.
  std::optional<Holder> awaited;
  std::optional<std::int64_t> creation;  ///< That is awaited.
  Timestamp since{};
  std::string error;
};
Decision<AcquireStep> decide(const Acquire& command, const Present& present);

/// What came of a command that only the current creator may give.
struct CreatorOutcome {
  bool stale = false;  ///< Another took over, or someone ended it by force; what was made is owed.
};

/// The creator has started a cluster, which is not ready yet.
struct RecordStarted {
  std::string config_hash;
  std::int64_t creation = 0;
  std::string cluster_id;
  std::string idempotency_token{};  ///< Of that creation.
};
Decision<CreatorOutcome> decide(const RecordStarted& command, const Present& present);

/// The cluster is ready: it is cached and leased to its creator.
struct FinishCreation {
  std::string config_hash;
  std::int64_t creation = 0;
  input::ClusterInput input;
  std::chrono::microseconds default_expiry{};
  Holder holder;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  std::optional<std::string> host;
  std::string idempotency_token{};
};
Decision<CreatorOutcome> decide(const FinishCreation& command, const Present& present);

/// The creation came to nothing; a cluster that it made all the same is owed.
struct FailCreation {
  std::string config_hash;
  std::int64_t creation = 0;
  std::string error;
  std::optional<std::string> cluster_id{};  ///< What was made, where that is known.
  std::string idempotency_token{};          ///< Of that creation.
};
Decision<> decide(const FailCreation& command, const Present& present);

/// Ends a lease by its holder's will.
struct EndLease {
  std::int64_t lease = 0;
};
struct LeaseEnded {
  bool was_held = false;
  bool was_last = false;
  std::int64_t usage_count = 0;
  std::string config_hash;
  std::string cluster_id;
};
Decision<LeaseEnded> decide(const EndLease& command, const Present& present);

/// Makes a lease hold by a deadline. Throws NotFound where it has ended; InvalidArgument where it
/// is held by a process, but for that process's own `convert`.
struct RenewLease {
  std::int64_t lease = 0;
  Timestamp until{};
  bool convert = false;
};
Decision<> decide(const RenewLease& command, const Present& present);

/// Tells who uses a cluster under a lease. Throws LeaseLost where that has ended.
struct NoteUse {
  std::int64_t lease = 0;
  std::string by;
};
Decision<> decide(const NoteUse& command, const Present& present);

/// A holder wants to know whether its cluster still runs. Nothing where its lease has ended, or
/// where another asks already.
struct BeginCheck {
  std::int64_t lease = 0;
  Holder holder;
};
struct CheckBegun {
  bool begun = false;
  bool lease_ended = false;
  std::optional<Holder> awaited;
};
Decision<CheckBegun> decide(const BeginCheck& command, const Present& present);

/// The answer. A `dead` counts only if the check is still the entry's and names its cluster: then
/// the row, the leases and the entry go.
struct AnswerCheck {
  std::string config_hash;
  std::int64_t check = 0;
  std::string cluster_id;
  events::CheckAnswer answer = events::CheckAnswer::alive;
  std::optional<std::string> error;
};
Decision<> decide(const AnswerCheck& command, const Present& present);

/// A holder says that its cluster is dead, and nobody can check: the cluster is owed.
struct BelieveDead {
  std::int64_t lease = 0;
};
Decision<bool> decide(const BelieveDead& command, const Present& present);

struct JoinRun {
  std::string run;
  std::string kind;
  std::optional<std::string> name;
  Holder holder;
};
Decision<> decide(const JoinRun& command, const Present& present);

struct LeaveRun {
  std::int64_t participant = 0;
};
Decision<> decide(const LeaveRun& command, const Present& present);

/// How an entry's usage count is made up.
struct Usage {
  std::int64_t leases = 0;
  std::int64_t creations = 0;  ///< 0 or 1.
  std::int64_t documented = 0;
};
Usage usage_of(const RegistryEntry& entry, const rows::TableReader& rows);

/// Whether a lease, or a creation by lease, holds the entry. The dead have been reaped.
bool is_held(const std::string& config_hash, const rows::TableReader& rows);

/// Whether a lease on the cluster is held.
bool is_cluster_held(const std::string& cluster_id, const rows::TableReader& rows);

/// The leases and the creation of an entry are lost.
void lose_leases(const RegistryEntry& entry, events::LeaseLossReason reason,
                 const rows::TableReader& rows, Events& events);

/// Who creates the cluster of an entry in the documented way (`register`), if anybody who lives
/// does.
std::optional<Holder> documented_creator(const RegistryEntry& entry,
                                         const std::optional<rows::Share>& share,
                                         const Present& present);

/// Takes an entry out whose cluster, if `acquire` created it, is owed with this reason; its leases,
/// if there are any, are lost.
void drop_entry(const RegistryEntry& entry, events::EntryRemovalReason removal,
                events::OwedReason owed, const rows::TableReader& rows, Timestamp now,
                Events& events);

}  // namespace dbcache::commands
