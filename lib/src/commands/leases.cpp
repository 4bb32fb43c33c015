#include "commands/leases.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "commands/terminations.hpp"

namespace dbcache::commands {
namespace {

using rows::EntryOrigin;

/// The ready entries of a cluster, documented ones included.
std::vector<rows::TableReader::Naming> entries_of(const std::string& cluster_id,
                                                  const rows::TableReader& rows) {
  auto entries = rows.naming(cluster_id);
  std::erase_if(entries, [](const rows::TableReader::Naming& named) {
    return named.entry.status != RegistryStatus::ready;
  });
  return entries;
}

/// The cluster no longer exists: removes its row, leases and entries.
void lose_cluster(const std::string& cluster_id, const Present& present, Events& events) {
  const auto entries = entries_of(cluster_id, present.rows);
  for (const auto& [entry, share] : entries) {
    lose_leases(entry, events::LeaseLossReason::cluster_lost, present, events);
  }
  if (present.rows.cluster(cluster_id)) {
    events.emplace_back(events::ClusterRemoved{cluster_id, events::ClusterRemovalReason::lost});
  }
  for (const auto& [entry, share] : entries) {
    events.emplace_back(
        events::RegistryEntryRemoved{entry.config_hash, events::EntryRemovalReason::lost});
  }
}

bool is_by_name(const EndLease& command) { return command.by_name; }
bool is_by_name(const RenewLease& command) { return !command.convert; }
template <class Command>
bool is_by_name(const Command&) {
  return false;
}

/// What to do with the cluster of a lease that is not of this log; empty where it is not known.
std::string remedy_for(const std::string& cluster_id, bool by_name, const Present& present) {
  if (cluster_id.empty()) return "";
  if (present.rows.cluster(cluster_id) || is_named(cluster_id, present) ||
      present.rows.pending_termination(cluster_id)) {
    return fmt::format("; this database has the cluster {} too: leave it to that", cluster_id);
  }
  return fmt::format(
      "; {}the cluster {} is nobody's now: if dbcache made it, terminate it yourself once nobody "
      "uses it",
      by_name ? "if no other database has it, " : "", cluster_id);
}

/// The lease that a command names; nothing if it has ended. Throws if it is not of this log.
template <class Command>
std::optional<rows::Lease> lease_of(const Command& command, const Present& present) {
  const Fit fit = fit_of(named<events::LeaseGranted>(command.lease), present);
  if (fit == Fit::ours) {
    auto lease = present.rows.lease(command.lease.position);
    if (lease) require_cluster(command.lease, command.cluster_id, lease->cluster_id);
    return lease;
  }
  if (fit == Fit::other_kind && !command.lease.mark.empty()) {
    throw InvalidArgument(
        fmt::format("{} is the name of something else than a lease, such as a creation; give the "
                    "name of a lease, "
                    "as `dbcache leases` shows it",
                    to_string(command.lease)));
  }
  if (is_by_name(command) && command.lease.mark.empty()) {
    throw NotFound(
        fmt::format("this database has no lease {}: see `dbcache leases`", command.lease.position));
  }
  const std::string text = log_gone_text("the lease", command.lease, fit) +
                           remedy_for(command.cluster_id, is_by_name(command), present);
  if (is_by_name(command)) throw NotFound(text);
  throw LeaseLost(text);
}

rows::Deadline deadline_at(Timestamp until, const Present& present) {
  rows::Deadline deadline{present.now, "", 0};
  if (auto boot = present.liveness.boot_time()) {
    deadline.boot_id = std::move(boot->boot_id);
    const std::chrono::nanoseconds left = until - present.now;
    deadline.boot_until = (boot->since_boot + left).count();
  }
  return deadline;
}

}  // namespace

void require_cluster(const EventName& lease, const std::string& named,
                     const std::string& cluster_id) {
  if (!lease.mark.empty() || named.empty() || cluster_id == named) return;
  throw NotFound(
      fmt::format("the lease {} is on the cluster {}, and DATABRICKS_CLUSTER_ID is {}: its number "
                  "alone is also "
                  "that of a lease of another log; give its name, which `dbcache leases` shows",
                  lease.position, cluster_id, named));
}

Decision<LeaseEnded> decide(const EndLease& command, const Present& present) {
  Decision<LeaseEnded> decision;
  const auto lease = lease_of(command, present);
  if (!lease || lease->config_hash != command.config_hash.value_or(lease->config_hash)) {
    return decision;
  }
  const auto entry = present.rows.entry(lease->config_hash);
  LeaseEnded& ended = decision.result;
  ended.was_held = true;
  ended.config_hash = lease->config_hash;
  ended.cluster_id = lease->cluster_id;
  ended.usage_count = entry ? std::max<std::int64_t>(entry->usage_count - 1, 0) : 0;
  // The dead were reaped, up to the first that lives.
  const auto left = present.rows.leases_of(lease->config_hash, {.limit = 2});
  ended.was_last = entry && std::none_of(left.begin(), left.end(), [&](const rows::Lease& other) {
                     return other.id != lease->id;
                   });
  events::LeaseReleased released{lease->config_hash, lease->id, lease->cluster_id, lease->policy,
                                 ended.usage_count};
  // The holder alone knows that the cluster served it to the end.
  if (!command.by_name && !lease->holder.until) released.released_at = present.now;
  decision.events.emplace_back(std::move(released));
  return decision;
}

Decision<> decide(const RenewLease& command, const Present& present) {
  const auto lease = lease_of(command, present);
  if (!lease) {
    if (command.convert)
      throw LeaseLost(
          fmt::format("the lease {} has ended; acquire another", to_string(command.lease)));
    throw NotFound(fmt::format("the lease {} has ended: acquire another before you use its cluster",
                               to_string(command.lease)));
  }
  if (!lease->holder.until && !command.convert) {
    throw InvalidArgument(fmt::format(
        "the lease {} has no deadline to renew: it is held for as long as the process {} "
        "on {} lives; renew only a lease with a deadline",
        to_string(command.lease), lease->holder.process.pid, lease->holder.host));
  }
  return {{events::LeaseRenewed{lease->config_hash, lease->id, command.until,
                                deadline_at(command.until, present)}}};
}

Decision<> decide(const NoteUse& command, const Present& present) {
  const auto lease = lease_of(command, present);
  if (!lease) {
    throw LeaseLost(
        fmt::format("the lease {} has ended; acquire another before you use its cluster",
                    to_string(command.lease)));
  }
  return {{events::ClusterUsed{lease->cluster_id, lease->id, command.by}}};
}

Decision<CheckBegun> decide(const BeginCheck& command, const Present& present) {
  Decision<CheckBegun> decision;
  const auto lease = lease_of(command, present);
  if (!lease) {
    decision.result.lease_ended = true;
    return decision;
  }
  if (const auto share = present.rows.share(lease->config_hash);
      share && share->check && share->checker) {
    decision.result.awaited = share->checker;
    return decision;
  }
  decision.result.begun = true;
  decision.events.emplace_back(
      events::CheckStarted{lease->config_hash, lease->cluster_id, command.holder});
  return decision;
}

Decision<> decide(const AnswerCheck& command, const Present& present) {
  const auto share = present.rows.share(command.config_hash);
  const auto entry = present.rows.entry(command.config_hash);
  if (!share || share->check != command.check.position || !entry ||
      !is_ours(named<events::CheckStarted>(command.check), present)) {
    return {};
  }
  Events events{events::CheckAnswered{command.config_hash, command.cluster_id,
                                      command.check.position, command.answer, command.error,
                                      present.now}};
  if (command.answer == events::CheckAnswer::dead && entry->status == RegistryStatus::ready &&
      entry->cluster_id == command.cluster_id) {
    lose_cluster(command.cluster_id, present, events);
  }
  return {std::move(events)};
}

Decision<bool> decide(const BelieveDead& command, const Present& present) {
  const auto lease = lease_of(command, present);
  if (!lease) return {};
  const auto entry = present.rows.entry(lease->config_hash);
  if (!entry) return {};
  Decision<bool> decision{{}, true};
  lose_cluster(lease->cluster_id, present, decision.events);
  for (const auto& [named, share] : entries_of(lease->cluster_id, present.rows)) {
    if (!share || share->origin != EntryOrigin::acquired) continue;
    owe({lease->cluster_id, share->idempotency_token, named.config_hash, share->host,
         events::OwedReason::reported_dead},
        present.rows, present.now, decision.events);
    break;
  }
  return decision;
}

Decision<> decide(const JoinRun& command, const Present& present) {
  return {
      {events::RunJoined{command.run, command.kind, command.name, command.holder, present.now}}};
}

Decision<Fit> decide(const LeaveRun& command, const Present& present) {
  const Fit fit = fit_of(named<events::RunJoined>(command.participant), present);
  if (fit != Fit::ours) return {{}, fit};
  const auto found = present.rows.participant(command.participant.position);
  if (!found) return {{}, fit};
  return {{events::RunLeft{found->run, found->id, events::RunLeftReason::left}}, fit};
}

}  // namespace dbcache::commands
