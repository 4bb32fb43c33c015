#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "commands/clusters.hpp"
#include "commands/decision.hpp"
#include "commands/leases.hpp"
#include "commands/liveness.hpp"
#include "commands/registry.hpp"
#include "commands/terminations.hpp"

// How far a command reaches: one configuration, as a rule. Its transaction reaps the dead of that
// configuration, and hands back what its own events left without a holder, so that it costs the
// same whatever else is in the database. A sweep finds what died elsewhere.
namespace dbcache::commands {

/// One transaction reaps no more leases of a configuration than this. 0.1 ms each.
inline constexpr std::size_t most_reaped = 50;

struct Reach {
  std::string config_hash;  ///< Empty: of no configuration.
  /// The caller continues with the configuration: a dead creation of it is only ended, and its
  /// entry is not handed back.
  bool goes_on = false;
  std::optional<std::int64_t>
      ends;  ///< A lease that the command ends, and that holds nothing more.
  /// What the command is about. If that is not of this log, nobody is reaped for it.
  std::optional<Named> named{};
  std::set<std::int64_t> suspects;  ///< Leases of it to judge even if a living one comes first.
};

/// What the dead of a configuration lose. Leases are judged in order until one lives, which is
/// enough to know that the configuration is held.
struct Reaped {
  Events events;
  bool all = true;  ///< False: there may be more before the first that lives. Reap again.
};
Reaped reap(const Present& present, const Reach& reach);

/// What the dead of other configurations lose, which the events of this transaction touched: a
/// dead holder must not keep what is handed back next.
Events reap_touched(const Present& present, const Reach& reach, const Events& after);

/// Hands back, among the configurations that the events of this transaction touched, the clusters
/// that nobody needs any more.
Events hand_back(const Present& present, const Reach& reach, const Events& after);

// The reach of each command.
Reach reach_of(const RecordStarted& command, const rows::TableReader& rows);
Reach reach_of(const FinishCreation& command, const rows::TableReader& rows);
Reach reach_of(const FailCreation& command, const rows::TableReader& rows);
Reach reach_of(const EndLease& command, const rows::TableReader& rows);
Reach reach_of(const RenewLease& command, const rows::TableReader& rows);
Reach reach_of(const NoteUse& command, const rows::TableReader& rows);
Reach reach_of(const BeginCheck& command, const rows::TableReader& rows);
Reach reach_of(const AnswerCheck& command, const rows::TableReader& rows);
Reach reach_of(const BelieveDead& command, const rows::TableReader& rows);
Reach reach_of(const JoinRun& command, const rows::TableReader& rows);
Reach reach_of(const LeaveRun& command, const rows::TableReader& rows);
Reach reach_of(const ClaimTermination& command, const rows::TableReader& rows);
Reach reach_of(const FinishTermination& command, const rows::TableReader& rows);
Reach reach_of(const ChangeStatus& command, const rows::TableReader& rows);
Reach reach_of(const DecrementUsage& command, const rows::TableReader& rows);
Reach reach_of(const CleanUpEntry& command, const rows::TableReader& rows);

/// Commands that reach everything.
template <class Command>
inline constexpr bool reaches_everything =
    std::is_same_v<Command, CleanUpExpired> || std::is_same_v<Command, ClearClusters> ||
    std::is_same_v<Command, ClearRegistry>;

/// What a sweep found. Each is decided again, in a transaction of its own.
struct Dead {
  std::size_t looked_at = 0;                             ///< So many holders, as the engine gave.
  std::map<std::string, std::set<std::int64_t>> leases;  ///< By configuration.
  std::set<std::string> configurations;   ///< With a dead creation or check, or to be handed back.
  std::vector<std::string> terminations;  ///< Their subjects.
  std::vector<std::int64_t> participants;

  [[nodiscard]] bool empty() const {
    return leases.empty() && configurations.empty() && terminations.empty() && participants.empty();
  }
};
void find_dead(const std::vector<rows::Lease>& leases, const Present& present, Dead& dead);
void find_dead(const std::vector<rows::Share>& shares, const Present& present, Dead& dead);
void find_dead(const std::vector<rows::PendingTermination>& running, const Present& present,
               Dead& dead);
void find_dead(const std::vector<rows::Participant>& participants, const Present& present,
               Dead& dead);

/// Ends the attempt of a process that died.
struct LoseTermination {
  std::string subject;
};
Decision<> decide(const LoseTermination& command, const Present& present);

/// Ends the participation of a process that died.
struct LoseParticipant {
  std::int64_t participant = 0;
};
Decision<> decide(const LoseParticipant& command, const Present& present);

/// Hands a cluster back that has expired, or that nobody needs any more.
struct HandBack {
  std::string config_hash;
};
Decision<> decide(const HandBack& command, const Present& present);

Reach reach_of(const LoseTermination& command, const rows::TableReader& rows);
Reach reach_of(const LoseParticipant& command, const rows::TableReader& rows);
Reach reach_of(const HandBack& command, const rows::TableReader& rows);

}  // namespace dbcache::commands
