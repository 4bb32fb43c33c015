#include <algorithm>
#include <map>
#include <set>
#include <type_traits>
#include <variant>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>
#include <fmt/format.h>

#include "commands/leases.hpp"
#include "commands/reach.hpp"
#include "commands/terminations.hpp"

// Ends what dead and expired holders held, and decides which clusters are then owed.
namespace dbcache::commands {
namespace {

using rows::EntryOrigin;
using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::Share;
using rows::TableReader;

/// After these events nobody may need the configuration's cluster any more.
using Ending = boost::mp11::mp_list<events::LeaseReleased, events::LeaseLost, events::CheckAnswered,
                                    events::RegistryStatusChanged, events::UsageDecremented>;

/// Usage counts of entries, while one decision ends several of their uses.
class Counts {
 public:
  explicit Counts(const TableReader& rows) : rows_(rows) {}

  std::int64_t one_less(const std::string& config_hash) {
    auto found = counts_.find(config_hash);
    if (found == counts_.end()) {
      const auto entry = rows_.entry(config_hash);
      found = counts_.emplace(config_hash, entry ? entry->usage_count : 0).first;
    }
    return found->second = std::max<std::int64_t>(found->second - 1, 0);
  }

 private:
  const TableReader& rows_;
  std::map<std::string, std::int64_t> counts_;
};

void reap_lease(const Lease& lease, Counts& counts, Events& events) {
  events.emplace_back(events::LeaseLost{
      lease.config_hash, lease.id, lease.cluster_id, lease.policy,
      lease.holder.until ? events::LeaseLossReason::deadline : events::LeaseLossReason::died,
      counts.one_less(lease.config_hash)});
}

void reap_creation(const Share& share, bool taken_over, const Present& present, Counts& counts,
                   Events& events) {
  if (!share.creation || !share.worker) return;
  const auto entry = present.rows.entry(share.config_hash);
  if (!entry || is_alive(*share.worker, entry->creation_time, present)) return;
  events.emplace_back(events::LeaseLost{share.config_hash, *share.creation, entry->cluster_id,
                                        std::nullopt, events::LeaseLossReason::died,
                                        counts.one_less(share.config_hash)});
  if (taken_over) return;
  events.emplace_back(events::RegistryStatusChanged{
      share.config_hash, entry->status, RegistryStatus::failed, entry->cluster_id,
      fmt::format("the worker that created the cluster died (pid {} on {})",
                  share.worker->process.pid, share.worker->host)});
  owe_unless_others_name({entry->cluster_id, share.idempotency_token, share.config_hash, share.host,
                          events::OwedReason::creator_died},
                         present.rows, present.now, events);
}

void reap_check(const Share& share, const Present& present, Events& events) {
  if (!share.check || !share.checker || is_alive(*share.checker, Timestamp{}, present)) return;
  const auto entry = present.rows.entry(share.config_hash);
  events.emplace_back(
      events::CheckAnswered{share.config_hash, entry ? entry->cluster_id.value_or("") : "",
                            *share.check, events::CheckAnswer::died, std::nullopt, present.now});
}

void reap_termination(const PendingTermination& pending, const Present& present, Events& events) {
  if (!pending.termination || !pending.terminator ||
      is_alive(*pending.terminator, pending.owed_at, present)) {
    return;
  }
  events.emplace_back(events::TerminationFailed{
      pending.subject, *pending.termination,
      fmt::format("the process that terminated it died (pid {} on {})",
                  pending.terminator->process.pid, pending.terminator->host),
      std::nullopt});  // the process failed, not its terminate: others try at once
}

void reap_participant(const Participant& participant, const Present& present, Events& events) {
  if (is_alive(participant.holder, participant.joined_at, present)) return;
  events.emplace_back(
      events::RunLeft{participant.run, participant.id, events::RunLeftReason::died});
}

bool has_participants(const std::string& run, const Present& present) {
  return any_in_pages<Participant>(
      [&](TableReader::Page page) { return present.rows.participants_of(run, page); },
      [&](const Participant& one) { return is_alive(one.holder, one.joined_at, present); });
}

void hand_back_one(const std::string& config_hash, const Present& present, Events& events) {
  const TableReader& rows = present.rows;
  const auto share = rows.share(config_hash);
  const auto entry = share ? rows.entry(config_hash) : std::nullopt;
  if (!entry || share->check || share->creation || !rows.leases_of(config_hash, {}).empty()) return;
  if (share->origin == EntryOrigin::environment) {
    if (entry->usage_count == 0) {
      events.emplace_back(
          events::RegistryEntryRemoved{config_hash, events::EntryRemovalReason::released});
    }
    return;
  }
  const bool has_cluster = share->created || entry->status == RegistryStatus::ready;
  if (share->origin != EntryOrigin::acquired || !has_cluster ||
      (entry->cluster_id && is_cluster_held(*entry->cluster_id, present))) {
    return;
  }
  const auto row = entry->cluster_id ? rows.cluster(*entry->cluster_id) : std::nullopt;
  if (row && row->expiry_time <= present.now) {
    drop_entry(*entry, events::EntryRemovalReason::expired, events::OwedReason::expired, present,
               events);
  } else if (share->policy == HandBackPolicy::hand_back && entry->usage_count == 0 &&
             std::none_of(share->runs.begin(), share->runs.end(),
                          [&](const std::string& run) { return has_participants(run, present); })) {
    drop_entry(*entry, events::EntryRemovalReason::handed_back, events::OwedReason::handed_back,
               present, events);
  }
}

/// Whether the first of its leases lives. If it does not, others may.
bool is_seen_held(const std::string& cluster_id, const Present& present) {
  const auto first = present.rows.leases_on(cluster_id, {});
  return !first.empty() && is_alive(first.front().holder, first.front().granted_at, present);
}

/// The configurations that need their cluster no more, perhaps, after these events.
std::set<std::string> touched_by(const Events& events, const Present& present) {
  std::set<std::string> touched;
  std::set<std::string> clusters;
  std::set<std::string> runs;
  for (const events::Event& event : events) {
    std::visit(
        [&]<class Payload>(const Payload& payload) {
          if constexpr (boost::mp11::mp_contains<Ending, Payload>::value) {
            touched.insert(payload.config_hash);
          }
          if constexpr (std::is_same_v<Payload, events::LeaseReleased> ||
                        std::is_same_v<Payload, events::LeaseLost>) {
            if (payload.cluster_id) clusters.insert(*payload.cluster_id);
          } else if constexpr (std::is_same_v<Payload, events::RunLeft>) {
            runs.insert(payload.run);
          }
        },
        event);
  }
  for (const std::string& cluster_id : clusters) {
    const auto entries = present.rows.naming(cluster_id);
    // While it is held all of them keep it, and the end of its last lease asks again.
    if (entries.size() > 1 && is_seen_held(cluster_id, present)) continue;
    for (const auto& [entry, share] : entries) touched.insert(entry.config_hash);
  }
  for (const std::string& run : runs) {
    if (has_participants(run, present)) continue;
    for (std::string& config_hash : present.rows.configurations_of(run)) {
      touched.insert(std::move(config_hash));
    }
  }
  return touched;
}

}  // namespace

Events reap(const Present& present, const std::string& taken_over) {
  Events events;
  Counts counts(present.rows);
  for (const Lease& lease : present.rows.leases()) {
    if (!is_alive(lease.holder, lease.granted_at, present)) reap_lease(lease, counts, events);
  }
  for (const Share& share : present.rows.shares()) {
    reap_creation(share, share.config_hash == taken_over, present, counts, events);
    reap_check(share, present, events);
  }
  for (const PendingTermination& pending : present.rows.pending_terminations()) {
    reap_termination(pending, present, events);
  }
  for (const Participant& participant : present.rows.participants()) {
    reap_participant(participant, present, events);
  }
  return events;
}

Reaped reap(const Present& present, const Reach& reach) {
  Reaped reaped;
  if (reach.config_hash.empty() || (reach.named && !is_ours(*reach.named, present))) return reaped;
  Counts counts(present.rows);
  std::set<std::int64_t> judged;
  for (const std::int64_t id : reach.suspects) {
    const auto lease = present.rows.lease(id);
    if (!lease || lease->config_hash != reach.config_hash ||
        is_alive(lease->holder, lease->granted_at, present)) {
      continue;
    }
    judged.insert(id);
    reap_lease(*lease, counts, reaped.events);
  }
  any_in_pages<Lease>(
      [&](TableReader::Page page) { return present.rows.leases_of(reach.config_hash, page); },
      [&](const Lease& lease) {
        if (lease.id == reach.ends || judged.contains(lease.id)) return false;
        if (is_alive(lease.holder, lease.granted_at, present)) return true;
        if (reaped.events.size() >= most_reaped) {
          reaped.all = false;
          return true;
        }
        reap_lease(lease, counts, reaped.events);
        return false;
      });
  if (!reaped.all) return reaped;
  if (const auto share = present.rows.share(reach.config_hash)) {
    reap_creation(*share, reach.goes_on, present, counts, reaped.events);
    reap_check(*share, present, reaped.events);
  }
  return reaped;
}

Events reap_touched(const Present& present, const Reach& reach, const Events& after) {
  Events events;
  for (const std::string& config_hash : touched_by(after, present)) {
    if (config_hash == reach.config_hash) continue;
    Reach touched;
    touched.config_hash = config_hash;
    const Events reaped = reap(present, touched).events;
    events.insert(events.end(), reaped.begin(), reaped.end());
  }
  return events;
}

Events hand_back(const Present& present, const Reach& reach, const Events& after) {
  Events events;
  for (const std::string& config_hash : touched_by(after, present)) {
    if (reach.goes_on && config_hash == reach.config_hash) continue;
    hand_back_one(config_hash, present, events);
  }
  return events;
}

// ---- A sweep

void find_dead(const std::vector<Lease>& leases, const Present& present, Dead& dead) {
  dead.looked_at += leases.size();
  for (const Lease& lease : leases) {
    if (!is_alive(lease.holder, lease.granted_at, present)) {
      dead.leases[lease.config_hash].insert(lease.id);
    }
  }
}

void find_dead(const std::vector<Share>& shares, const Present& present, Dead& dead) {
  dead.looked_at += shares.size();
  for (const Share& share : shares) {
    const auto entry = present.rows.entry(share.config_hash);
    const bool creator_died = share.creation && share.worker && entry &&
                              !is_alive(*share.worker, entry->creation_time, present);
    const bool checker_died =
        share.check && share.checker && !is_alive(*share.checker, Timestamp{}, present);
    if (creator_died || checker_died) dead.configurations.insert(share.config_hash);
  }
}

void find_dead(const std::vector<PendingTermination>& running, const Present& present, Dead& dead) {
  dead.looked_at += running.size();
  for (const PendingTermination& pending : running) {
    Events events;
    reap_termination(pending, present, events);
    if (!events.empty()) dead.terminations.push_back(pending.subject);
  }
}

void find_dead(const std::vector<Participant>& participants, const Present& present, Dead& dead) {
  dead.looked_at += participants.size();
  for (const Participant& participant : participants) {
    if (!is_alive(participant.holder, participant.joined_at, present)) {
      dead.participants.push_back(participant.id);
    }
  }
}

Decision<> decide(const LoseTermination& command, const Present& present) {
  Decision<> decision;
  if (const auto pending = present.rows.pending_termination(command.subject)) {
    reap_termination(*pending, present, decision.events);
  }
  return decision;
}

Decision<> decide(const LoseParticipant& command, const Present& present) {
  Decision<> decision;
  if (const auto participant = present.rows.participant(command.participant)) {
    reap_participant(*participant, present, decision.events);
  }
  return decision;
}

Decision<> decide(const HandBack& command, const Present& present) {
  Decision<> decision;
  hand_back_one(command.config_hash, present, decision.events);
  return decision;
}

Events hand_back(const Present& present, const std::string& but) {
  Events events;
  for (const Share& share : present.rows.shares()) {
    if (share.config_hash != but) hand_back_one(share.config_hash, present, events);
  }
  return events;
}

Usage usage_of(const RegistryEntry& entry, const TableReader& rows) {
  Usage usage;
  usage.leases = rows.count_leases_of(entry.config_hash);
  const auto share = rows.share(entry.config_hash);
  usage.creations = share && share->creation ? 1 : 0;
  usage.documented = std::max<std::int64_t>(entry.usage_count - usage.leases - usage.creations, 0);
  return usage;
}

bool is_held(const std::string& config_hash, const TableReader& rows) {
  const auto share = rows.share(config_hash);
  return (share && share->creation) || !rows.leases_of(config_hash, {}).empty();
}

bool is_cluster_held(const std::string& cluster_id, const Present& present) {
  return any_in_pages<Lease>(
      [&](TableReader::Page page) { return present.rows.leases_on(cluster_id, page); },
      [&](const Lease& lease) { return is_alive(lease.holder, lease.granted_at, present); });
}

void lose_leases(const RegistryEntry& entry, events::LeaseLossReason reason, const Present& present,
                 Events& events) {
  Counts counts(present.rows);
  any_in_pages<Lease>(
      [&](TableReader::Page page) { return present.rows.leases_of(entry.config_hash, page); },
      [&](const Lease& lease) {
        if (is_alive(lease.holder, lease.granted_at, present)) {
          events.emplace_back(events::LeaseLost{lease.config_hash, lease.id, lease.cluster_id,
                                                lease.policy, reason,
                                                counts.one_less(lease.config_hash)});
        } else {
          reap_lease(lease, counts, events);
        }
        return false;
      });
  if (const auto share = present.rows.share(entry.config_hash); share && share->creation) {
    events.emplace_back(events::LeaseLost{entry.config_hash, *share->creation, entry.cluster_id,
                                          std::nullopt, reason,
                                          counts.one_less(entry.config_hash)});
  }
}

std::optional<Holder> documented_creator(const RegistryEntry& entry,
                                         const std::optional<Share>& share,
                                         const Present& present) {
  // The creator of an entry that `acquire` made has a creation, or was reaped.
  const bool abandoned = share && share->origin == EntryOrigin::acquired;
  if (entry.status != RegistryStatus::creating || abandoned) return std::nullopt;
  Holder worker = share && share->worker ? *share->worker : Holder{};
  if (worker.process.pid == 0) worker.process.pid = entry.worker_pid.value_or(0);
  if (!is_alive(worker, entry.creation_time, present)) return std::nullopt;
  return worker;
}

void drop_entry(const RegistryEntry& entry, events::EntryRemovalReason removal,
                events::OwedReason owed, const Present& present, Events& events) {
  const TableReader& rows = present.rows;
  lose_leases(entry, events::LeaseLossReason::forced, present, events);
  const auto share = rows.share(entry.config_hash);
  // A creation that failed became owed when it failed, and names no cluster of its own any more.
  const bool acquired = share && share->origin == EntryOrigin::acquired &&
                        (share->created || entry.status != RegistryStatus::failed);
  // The cluster goes with the last entry that has it.
  const bool takes_cluster =
      acquired &&
      (!entry.cluster_id || !others_keep(*entry.cluster_id, entry.config_hash, rows, events));
  if (takes_cluster) {
    owe({entry.cluster_id, share->idempotency_token, entry.config_hash, share->host, owed}, rows,
        present.now, events);
  }
  if (const auto row =
          takes_cluster && entry.cluster_id ? rows.cluster(*entry.cluster_id) : std::nullopt) {
    if (owed == events::OwedReason::expired) {
      events.emplace_back(events::ClusterExpired{row->cluster_id, row->expiry_time});
    } else {
      events.emplace_back(
          events::ClusterRemoved{row->cluster_id, owed == events::OwedReason::cleared
                                                      ? events::ClusterRemovalReason::cleared
                                                      : events::ClusterRemovalReason::handed_back});
    }
  }
  events.emplace_back(events::RegistryEntryRemoved{entry.config_hash, removal});
}

}  // namespace dbcache::commands
