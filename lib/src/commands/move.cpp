#include "commands/move.hpp"

#include <fmt/format.h>

#include "commands/leases.hpp"

namespace dbcache::commands {
namespace {

std::string by(const Holder& holder) {
  const std::string host = holder.host.empty() ? "" : " on " + holder.host;
  return fmt::format("pid {}{}", holder.process.pid, host);
}

}  // namespace

std::vector<std::string> held_by_the_living(const Present& present) {
  std::vector<std::string> held;
  for (const rows::Lease& lease : present.rows.leases()) {
    held.push_back(
        fmt::format("lease {} on {} ({})", lease.id, lease.cluster_id, by(lease.holder)));
  }
  for (const RegistryEntry& entry : present.rows.entries()) {
    const auto share = present.rows.share(entry.config_hash);
    if (share && share->creation && share->worker) {
      held.push_back(fmt::format("creation {} ({})", *share->creation, by(*share->worker)));
    } else if (const auto worker = documented_creator(entry, share, present)) {
      held.push_back(fmt::format("the creation of '{}' ({})", entry.config_hash, by(*worker)));
    }
    if (share && share->check && share->checker) {
      held.push_back(fmt::format("check {} ({})", *share->check, by(*share->checker)));
    }
  }
  for (const rows::PendingTermination& pending : present.rows.pending_terminations()) {
    if (!pending.termination || !pending.terminator) continue;
    held.push_back(
        fmt::format("the termination of {} ({})", pending.subject, by(*pending.terminator)));
  }
  for (const rows::Participant& participant : present.rows.participants()) {
    held.push_back(
        fmt::format("a participant of the run {} ({})", participant.run, by(participant.holder)));
  }
  return held;
}

}  // namespace dbcache::commands
