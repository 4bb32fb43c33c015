#include <algorithm>
#include <utility>

#include "commands/clusters.hpp"
#include "commands/leases.hpp"
#include "commands/terminations.hpp"

// How an acquire gets its cluster: it joins, waits, checks or creates.
namespace dbcache::commands {
namespace {

using rows::EntryOrigin;
using rows::Share;
using Next = AcquireStep::Next;

/// Makes the caller the creator: of a new entry, or in place of a creator that failed or died.
Decision<AcquireStep> create(const Acquire& command, const std::optional<RegistryEntry>& entry,
                             const std::optional<Share>& share, const Present& present,
                             Events events = {}) {
  AcquireStep step;
  step.next = Next::create;
  step.idempotency_token = command.new_token;
  if (entry && share && share->origin == EntryOrigin::acquired && share->created) {
    // The entry was ready before it was marked otherwise, so its token stands for that cluster.
    drop_entry(*entry, events::EntryRemovalReason::handed_back, events::OwedReason::superseded,
               present, events);
  } else if (entry && share && share->origin == EntryOrigin::acquired &&
             (entry->cluster_id || share->idempotency_token)) {
    const auto pending = present.rows.pending_termination(
        entry->cluster_id ? *entry->cluster_id : *share->idempotency_token);
    if (pending && pending->attempts == 0) {
      events.emplace_back(
          events::TerminationCancelled{pending->subject, events::CancelReason::taken_over});
    }
    // If a failed creation is no longer owed, it was settled, or a user took charge of its cluster.
    const bool goes_on = pending ? pending->attempts == 0 : entry->status != RegistryStatus::failed;
    if (goes_on) {
      // The entry loses its token when a termination of what the token stands for begins.
      if (share->idempotency_token) step.idempotency_token = *share->idempotency_token;
      step.continues_earlier = true;
      step.cluster_id = entry->cluster_id;
      step.others_have_it =
          step.cluster_id && others_have(*step.cluster_id, command.config_hash, present);
    }
  }
  // The count is 1: documented uses end with the creation that they waited for.
  events.emplace_back(events::CreationStarted{command.config_hash, command.holder,
                                              step.idempotency_token, step.cluster_id, command.host,
                                              present.now, 1});
  return {std::move(events), std::move(step)};
}

Decision<AcquireStep> wait_for(Next next, const Holder& holder, Timestamp since,
                               std::optional<std::int64_t> creation = std::nullopt) {
  AcquireStep step;
  step.next = next;
  step.awaited = holder;
  step.since = since;
  step.creation = creation;
  return {{}, std::move(step)};
}

/// Grants a lease on an existing cluster, and counts it as an access.
void grant(const Acquire& command, const std::string& cluster_id, std::int64_t usage_count,
           const Present& present, Events& events) {
  events.emplace_back(events::LeaseGranted{command.config_hash, cluster_id, command.holder,
                                           command.policy, command.run, present.now, false,
                                           command.host, std::nullopt, usage_count});
  if (const auto row = present.rows.cluster(cluster_id)) {
    events.emplace_back(
        events::ClusterAccessed{cluster_id, present.now, one_more(row->access_count)});
  }
}

/// The host of a configuration whose entry was removed, from its pending terminations.
std::optional<std::string> host_of(const std::string& config_hash, const rows::TableReader& rows) {
  for (const rows::PendingTermination& pending : rows.pending_terminations_of(config_hash)) {
    if (pending.host) return pending.host;
  }
  return std::nullopt;
}

/// The token, unless a creation still has it: then it may stand for another cluster by now. Only a
/// creation of the same configuration can have it.
std::optional<std::string> unused(const std::string& token, const std::optional<Share>& share) {
  const bool used = share && share->idempotency_token == token;
  return used || token.empty() ? std::nullopt : std::optional(token);
}

/// Owes the cluster of a creator that was superseded.
void owe_as_superseded(const std::string& cluster_id, const std::string& token,
                       const std::string& config_hash, const std::optional<Share>& share,
                       const Present& present, Events& events) {
  owe_unless_named(
      {cluster_id, unused(token, share), config_hash,
       share ? share->host : host_of(config_hash, present.rows), events::OwedReason::superseded},
      present, events);
}

/// Owes the cluster that an earlier creator of this creation had started.
void owe_earlier_cluster(const RegistryEntry& entry, const std::string& cluster_id,
                         const Share& share, const Present& present, Events& events) {
  if (!entry.cluster_id || entry.cluster_id == cluster_id) return;
  // Without the token, which now belongs to the new cluster.
  owe_unless_others_name({entry.cluster_id, std::nullopt, entry.config_hash, share.host,
                          events::OwedReason::superseded},
                         present.rows, present.now, events);
}

/// The outcome for a creator whose creation is not of this log.
/// A log that has the creation's token, of before a takeover, may stand for the same cluster.
template <class Command>
CreatorOutcome outside(const Command& command, Fit fit,
                       const std::optional<std::string>& cluster_id, const Present& present) {
  const std::string& token = command.idempotency_token;
  const auto share = present.rows.share(command.config_hash);
  CreatorOutcome outcome;
  outcome.fit = fit;
  outcome.is_named = (cluster_id && is_named(*cluster_id, present)) ||
                     (share && share->idempotency_token == token) ||
                     present.rows.pending_termination(token).has_value() ||
                     (cluster_id && present.rows.pending_termination(*cluster_id).has_value());
  return outcome;
}

Decision<AcquireStep> join_or_await_creation(const Acquire& command, const RegistryEntry& entry,
                                             const std::optional<Share>& share,
                                             const Present& present) {
  if (share && share->creation && share->worker) {
    return wait_for(Next::wait_for_creator, *share->worker, entry.creation_time, share->creation);
  }
  if (const auto worker = documented_creator(entry, share, present)) {
    return wait_for(Next::wait_for_creator, *worker, entry.creation_time);
  }
  return create(command, entry, share, present);
}

/// A time in the future is that of a clock that was wrong.
bool was_alive_lately(const Share& share, std::chrono::milliseconds lately, Timestamp now) {
  return share.alive_at && *share.alive_at <= now &&
         std::chrono::floor<std::chrono::milliseconds>(now - *share.alive_at) < lately;
}

Decision<AcquireStep> join_ready(const Acquire& command, const RegistryEntry& entry,
                                 const std::optional<Share>& share, const Present& present) {
  const std::string& cluster_id = *entry.cluster_id;
  const auto pending = present.rows.pending_termination(cluster_id);
  const auto row = present.rows.cluster(cluster_id);
  const bool expired = row && row->expiry_time <= present.now;
  const bool being_terminated = pending && pending->attempts > 0;
  const bool must_be_checked =
      command.checks && command.checked != cluster_id &&
      !(share && was_alive_lately(*share, command.check_counts_for, present.now));
  const bool held =
      (expired || being_terminated || must_be_checked) && is_cluster_held(cluster_id, present);
  if (!held && (expired || being_terminated)) {
    Events events;
    drop_entry(
        entry,
        expired ? events::EntryRemovalReason::expired : events::EntryRemovalReason::terminated,
        expired ? events::OwedReason::expired : events::OwedReason::handed_back, present, events);
    const bool owned = share && share->origin == EntryOrigin::acquired;
    if (expired && !owned) {
      events.emplace_back(events::ClusterExpired{row->cluster_id, row->expiry_time});
    }
    return create(command, std::nullopt, std::nullopt, present, std::move(events));
  }
  if (!held && must_be_checked) {
    if (share && share->check && share->checker) {
      return wait_for(Next::wait_for_checker, *share->checker, present.now);
    }
    AcquireStep step;
    step.next = Next::check;
    step.cluster_id = cluster_id;
    return {{events::CheckStarted{entry.config_hash, cluster_id, command.holder}}, std::move(step)};
  }
  Decision<AcquireStep> decision;
  if (pending) reclaim(cluster_id, present.rows, decision.events);
  grant(command, cluster_id, one_more(entry.usage_count), present, decision.events);
  decision.result.cluster_id = cluster_id;
  return decision;
}

}  // namespace

Decision<AcquireStep> decide(const Acquire& command, const Present& present) {
  const auto entry = present.rows.entry(command.config_hash);
  if (command.fixed_cluster) {
    Decision<AcquireStep> decision;
    reclaim(*command.fixed_cluster, present.rows, decision.events);
    grant(command, *command.fixed_cluster, entry ? one_more(entry->usage_count) : 1, present,
          decision.events);
    decision.result.cluster_id = command.fixed_cluster;
    return decision;
  }
  const auto share = present.rows.share(command.config_hash);
  if (!entry) return create(command, entry, share, present);
  if (entry->status == RegistryStatus::creating) {
    return join_or_await_creation(command, *entry, share, present);
  }
  if (entry->status == RegistryStatus::ready && entry->cluster_id) {
    return join_ready(command, *entry, share, present);
  }
  if (command.fails_with || (command.waited_for && share && share->failed_for_good)) {
    const auto all_pending = present.rows.pending_terminations_of(command.config_hash);
    // A creator that died left no error to report: another continues what it began.
    const bool died = std::any_of(
        all_pending.begin(), all_pending.end(), [&](const rows::PendingTermination& pending) {
          return pending.reason == "creator_died" && pending.owed_at >= entry->creation_time;
        });
    if (!died) {
      AcquireStep step;
      step.next = Next::creation_failed;
      step.error = entry->error_message.value_or("the cluster could not be created");
      return {{}, std::move(step)};
    }
  }
  return create(command, entry, share, present);
}

Decision<CreatorOutcome> decide(const RecordStarted& command, const Present& present) {
  const Fit fit = fit_of(named<events::CreationStarted>(command.creation), present);
  if (fit != Fit::ours) return {{}, outside(command, fit, command.cluster_id, present)};
  const auto entry = present.rows.entry(command.config_hash);
  const auto share = present.rows.share(command.config_hash);
  Decision<CreatorOutcome> decision;
  if (!entry || !share || share->creation != command.creation.position) {
    decision.result.stale = true;
    owe_as_superseded(command.cluster_id, command.idempotency_token, command.config_hash, share,
                      present, decision.events);
    return decision;
  }
  decision.result.others_have_it = others_have(command.cluster_id, command.config_hash, present);
  if (entry->cluster_id == command.cluster_id) return decision;
  reclaim(command.cluster_id, present.rows, decision.events);
  owe_earlier_cluster(*entry, command.cluster_id, *share, present, decision.events);
  decision.events.emplace_back(events::RegistryStatusChanged{command.config_hash, entry->status,
                                                             RegistryStatus::creating,
                                                             command.cluster_id, std::nullopt});
  return decision;
}

Decision<CreatorOutcome> decide(const FinishCreation& command, const Present& present) {
  const std::string& cluster_id = command.input.cluster_id;
  const Fit fit = fit_of(named<events::CreationStarted>(command.creation), present);
  if (fit != Fit::ours) return {{}, outside(command, fit, cluster_id, present)};
  const auto entry = present.rows.entry(command.config_hash);
  const auto share = present.rows.share(command.config_hash);
  Decision<CreatorOutcome> decision;
  if (!entry || !share || share->creation != command.creation.position) {
    decision.result.stale = true;
    owe_unless_named({cluster_id, unused(command.idempotency_token, share), command.config_hash,
                      command.host, events::OwedReason::superseded},
                     present, decision.events);
    return decision;
  }
  Events& events = decision.events;
  owe_earlier_cluster(*entry, cluster_id, *share, present, events);
  // The documented calls know one active cluster, and it must not change unasked.
  const auto cached = present.rows.active_cluster(present.now);
  const bool active = !cached || cached->cluster_id == cluster_id;
  CacheCluster caching{command.input, command.default_expiry, active};
  caching.input.is_shared = true;
  const Events caches = decide(caching, present).events;
  events.insert(events.end(), caches.begin(), caches.end());
  events.emplace_back(events::RegistryStatusChanged{
      command.config_hash, entry->status, RegistryStatus::ready, cluster_id, std::nullopt});
  events.emplace_back(events::LeaseGranted{
      command.config_hash, cluster_id, command.holder, command.policy, command.run, present.now,
      true, command.host, command.creation.position, entry->usage_count});
  events.emplace_back(events::ClusterAccessed{cluster_id, present.now, 2});
  return decision;
}

Decision<CreatorOutcome> decide(const FailCreation& command, const Present& present) {
  const Fit fit = fit_of(named<events::CreationStarted>(command.creation), present);
  if (fit != Fit::ours) {
    return {
        {},
        outside(command, fit, command.cluster_id ? command.cluster_id : command.started, present)};
  }
  const auto entry = present.rows.entry(command.config_hash);
  const auto share = present.rows.share(command.config_hash);
  Events events;
  if (!entry || !share || share->creation != command.creation.position) {
    if (command.cluster_id) {
      owe_as_superseded(*command.cluster_id, command.idempotency_token, command.config_hash, share,
                        present, events);
    }
    return {std::move(events), {.stale = true}};
  }
  if (command.cluster_id) owe_earlier_cluster(*entry, *command.cluster_id, *share, present, events);
  const auto cluster_id = command.cluster_id ? command.cluster_id : entry->cluster_id;
  events.emplace_back(events::RegistryStatusChanged{command.config_hash, entry->status,
                                                    RegistryStatus::failed, cluster_id,
                                                    command.error, command.for_good});
  events.emplace_back(events::LeaseReleased{command.config_hash, command.creation.position,
                                            cluster_id, std::nullopt,
                                            std::max<std::int64_t>(entry->usage_count - 1, 0)});
  if (cluster_id || !command.nothing_started) {
    owe_unless_others_name({cluster_id, share->idempotency_token, command.config_hash, share->host,
                            events::OwedReason::creation_failed},
                           present.rows, present.now, events);
  }
  return {std::move(events), {}};
}

}  // namespace dbcache::commands
