#include "commands/reach.hpp"

namespace dbcache::commands {
namespace {

using rows::TableReader;

Reach reach_of_lease(const EventName& name, const TableReader& rows) {
  Reach reach;
  reach.named = named<events::LeaseGranted>(name);
  const auto lease = rows.lease(name.position);
  if (!lease) return reach;
  reach.config_hash = lease->config_hash;
  reach.suspects = {name.position};
  return reach;
}

Reach reach_of_configuration(const std::string& config_hash) {
  Reach reach;
  reach.config_hash = config_hash;
  return reach;
}

Reach reach_of_creation(const std::string& config_hash, const EventName& name) {
  Reach reach = reach_of_configuration(config_hash);
  reach.named = named<events::CreationStarted>(name);
  return reach;
}

}  // namespace

Reach reach_of(const RecordStarted& command, const TableReader&) {
  return reach_of_creation(command.config_hash, command.creation);
}
Reach reach_of(const FinishCreation& command, const TableReader&) {
  return reach_of_creation(command.config_hash, command.creation);
}
Reach reach_of(const FailCreation& command, const TableReader&) {
  return reach_of_creation(command.config_hash, command.creation);
}
Reach reach_of(const EndLease& command, const TableReader& rows) {
  Reach reach = command.config_hash ? reach_of_configuration(*command.config_hash)
                                    : reach_of_lease(command.lease, rows);
  reach.named = named<events::LeaseGranted>(command.lease);
  reach.suspects = {command.lease.position};
  reach.ends = command.lease.position;
  return reach;
}
Reach reach_of(const RenewLease& command, const TableReader& rows) {
  return reach_of_lease(command.lease, rows);
}
Reach reach_of(const NoteUse& command, const TableReader& rows) {
  return reach_of_lease(command.lease, rows);
}
Reach reach_of(const BeginCheck& command, const TableReader& rows) {
  return reach_of_lease(command.lease, rows);
}
Reach reach_of(const AnswerCheck& command, const TableReader&) {
  Reach reach = reach_of_configuration(command.config_hash);
  reach.named = named<events::CheckStarted>(command.check);
  return reach;
}
Reach reach_of(const BelieveDead& command, const TableReader& rows) {
  return reach_of_lease(command.lease, rows);
}
Reach reach_of(const JoinRun&, const TableReader&) { return {}; }
Reach reach_of(const LeaveRun&, const TableReader&) { return {}; }
Reach reach_of(const ClaimTermination&, const TableReader&) { return {}; }
Reach reach_of(const FinishTermination&, const TableReader&) { return {}; }
Reach reach_of(const ChangeStatus& command, const TableReader&) {
  return reach_of_configuration(command.config_hash);
}
Reach reach_of(const DecrementUsage& command, const TableReader&) {
  return reach_of_configuration(command.config_hash);
}
Reach reach_of(const CleanUpEntry& command, const TableReader&) {
  return reach_of_configuration(command.config_hash);
}
Reach reach_of(const LoseTermination&, const TableReader&) { return {}; }
Reach reach_of(const LoseParticipant&, const TableReader&) { return {}; }
Reach reach_of(const HandBack& command, const TableReader&) {
  return reach_of_configuration(command.config_hash);
}

}  // namespace dbcache::commands
