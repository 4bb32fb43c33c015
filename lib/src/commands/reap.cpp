#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "commands/leases.hpp"
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

void reap_leases(const Present& present, Counts& counts, Events& events) {
  for (const Lease& lease : present.rows.leases()) {
    if (is_alive(lease.holder, lease.granted_at, present)) continue;
    events.emplace_back(events::LeaseLost{
        lease.config_hash, lease.id, lease.cluster_id, lease.policy,
        lease.holder.until ? events::LeaseLossReason::deadline : events::LeaseLossReason::died,
        counts.one_less(lease.config_hash)});
  }
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

bool a_run_goes_on(const Share& share, const std::vector<Participant>& participants) {
  return std::any_of(participants.begin(), participants.end(), [&](const Participant& one) {
    return std::find(share.runs.begin(), share.runs.end(), one.run) != share.runs.end();
  });
}

}  // namespace

Events reap(const Present& present, const std::string& taken_over) {
  Events events;
  Counts counts(present.rows);
  reap_leases(present, counts, events);
  for (const Share& share : present.rows.shares()) {
    reap_creation(share, share.config_hash == taken_over, present, counts, events);
    if (share.check && share.checker && !is_alive(*share.checker, Timestamp{}, present)) {
      const auto entry = present.rows.entry(share.config_hash);
      events.emplace_back(
          events::CheckAnswered{share.config_hash, entry ? entry->cluster_id.value_or("") : "",
                                *share.check, events::CheckAnswer::died, std::nullopt});
    }
  }
  for (const PendingTermination& pending : present.rows.pending_terminations()) {
    if (!pending.termination || !pending.terminator ||
        is_alive(*pending.terminator, pending.owed_at, present)) {
      continue;
    }
    events.emplace_back(events::TerminationFailed{
        pending.subject, *pending.termination,
        fmt::format("the process that terminated it died (pid {} on {})",
                    pending.terminator->process.pid, pending.terminator->host)});
  }
  for (const Participant& participant : present.rows.participants()) {
    if (is_alive(participant.holder, participant.joined_at, present)) continue;
    events.emplace_back(
        events::RunLeft{participant.run, participant.id, events::RunLeftReason::died});
  }
  return events;
}

Events hand_back(const Present& present, const std::string& but) {
  Events events;
  const TableReader& rows = present.rows;
  const auto shares = rows.shares();
  if (shares.empty()) return events;
  // Read all rows at once, not one by one: every step of every acquire runs this.
  std::map<std::string, RegistryEntry, std::less<>> entries;
  for (RegistryEntry& entry : rows.entries()) entries.emplace(entry.config_hash, std::move(entry));
  std::map<std::string, std::int64_t, std::less<>> leases;
  std::set<std::string, std::less<>> held_clusters;  // under any entry
  for (const Lease& lease : rows.leases()) {
    leases[lease.config_hash] += 1;
    held_clusters.insert(lease.cluster_id);
  }
  std::set<std::string, std::less<>> expired;
  for (const CachedCluster& row : rows.clusters({.is_expired = true}, present.now)) {
    expired.insert(row.cluster_id);
  }
  const auto participants = rows.participants();

  for (const Share& share : shares) {
    const auto found = entries.find(share.config_hash);
    if (found == entries.end() || share.config_hash == but || share.check || share.creation ||
        leases.contains(share.config_hash)) {
      continue;
    }
    const RegistryEntry& entry = found->second;
    if (share.origin == EntryOrigin::environment) {
      if (entry.usage_count == 0) {
        events.emplace_back(
            events::RegistryEntryRemoved{share.config_hash, events::EntryRemovalReason::released});
      }
      continue;
    }
    const bool has_cluster = share.created || entry.status == RegistryStatus::ready;
    if (share.origin != EntryOrigin::acquired || !has_cluster ||
        (entry.cluster_id && held_clusters.contains(*entry.cluster_id))) {
      continue;
    }
    if (entry.cluster_id && expired.contains(*entry.cluster_id)) {
      drop_entry(entry, events::EntryRemovalReason::expired, events::OwedReason::expired, rows,
                 present.now, events);
    } else if (share.policy == HandBackPolicy::hand_back && entry.usage_count == 0 &&
               !a_run_goes_on(share, participants)) {
      drop_entry(entry, events::EntryRemovalReason::handed_back, events::OwedReason::handed_back,
                 rows, present.now, events);
    }
  }
  return events;
}

Usage usage_of(const RegistryEntry& entry, const TableReader& rows) {
  Usage usage;
  const auto leases = rows.leases();
  usage.leases = std::count_if(leases.begin(), leases.end(), [&](const Lease& lease) {
    return lease.config_hash == entry.config_hash;
  });
  const auto share = rows.share(entry.config_hash);
  usage.creations = share && share->creation ? 1 : 0;
  usage.documented = std::max<std::int64_t>(entry.usage_count - usage.leases - usage.creations, 0);
  return usage;
}

bool is_held(const std::string& config_hash, const TableReader& rows) {
  const auto share = rows.share(config_hash);
  if (share && share->creation) return true;
  const auto leases = rows.leases();
  return std::any_of(leases.begin(), leases.end(),
                     [&](const Lease& lease) { return lease.config_hash == config_hash; });
}

bool is_cluster_held(const std::string& cluster_id, const TableReader& rows) {
  const auto leases = rows.leases();
  return std::any_of(leases.begin(), leases.end(),
                     [&](const Lease& lease) { return lease.cluster_id == cluster_id; });
}

void lose_leases(const RegistryEntry& entry, events::LeaseLossReason reason,
                 const TableReader& rows, Events& events) {
  Counts counts(rows);
  for (const Lease& lease : rows.leases()) {
    if (lease.config_hash != entry.config_hash) continue;
    events.emplace_back(events::LeaseLost{lease.config_hash, lease.id, lease.cluster_id,
                                          lease.policy, reason,
                                          counts.one_less(lease.config_hash)});
  }
  if (const auto share = rows.share(entry.config_hash); share && share->creation) {
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
                events::OwedReason owed, const TableReader& rows, Timestamp now, Events& events) {
  lose_leases(entry, events::LeaseLossReason::forced, rows, events);
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
        now, events);
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
