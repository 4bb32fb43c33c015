#include "commands/registry.hpp"

#include <algorithm>

#include <boost/range/adaptor/reversed.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "commands/leases.hpp"
#include "commands/terminations.hpp"

namespace dbcache::commands {

namespace {

/// Oldest first, as for clusters.
Decision<Removal> remove_entries(const std::vector<RegistryEntry>& entries, HeldClusters held,
                                 const Present& present) {
  Decision<Removal> decision;
  for (const RegistryEntry& entry : boost::adaptors::reverse(entries)) {
    if (held == HeldClusters::leave && is_held(entry.config_hash, present.rows)) {
      decision.result.held.push_back(entry.config_hash);
      continue;
    }
    ++decision.result.removed;
    drop_entry(entry, events::EntryRemovalReason::cleaned_up, events::OwedReason::cleaned_up,
               present, decision.events);
  }
  return decision;
}

}  // namespace

Decision<Registered> decide(const RegisterCreation& command, const Present& present) {
  if (const auto entry = present.rows.entry(command.config_hash)) {
    return {{}, {.created = false, .joinable = is_joinable(*entry)}};
  }
  return {{events::CreationRegistered{command.config_hash, present.now, command.worker}},
          {.created = true, .joinable = true}};
}

Decision<> decide(const ChangeStatus& command, const Present& present) {
  const auto entry = present.rows.entry(command.config_hash);
  if (!entry) {
    throw NotFound(fmt::format("there is no entry '{}'; register it first", command.config_hash));
  }
  const auto& cluster_id =
      command.details.cluster_id ? command.details.cluster_id : entry->cluster_id;
  if (command.status == RegistryStatus::ready && !cluster_id) {
    throw InvalidArgument(
        fmt::format("the entry '{}' cannot be ready without a cluster; give its cluster id",
                    command.config_hash));
  }
  if (is_held(command.config_hash, present.rows)) {
    throw Busy(
        fmt::format("the entry '{}' is held by a live lease or creator, which sets its status "
                    "itself; `dbcache leases` lists them",
                    command.config_hash));
  }
  Events events;
  if (command.status == RegistryStatus::ready) reclaim(*cluster_id, present.rows, events);
  const auto share = present.rows.share(command.config_hash);
  if (share && share->origin == rows::EntryOrigin::acquired && share->created &&
      entry->cluster_id != cluster_id) {
    // The entry now names another cluster, which `acquire` did not create.
    owe_unless_others_name({entry->cluster_id, share->idempotency_token, entry->config_hash,
                            share->host, events::OwedReason::superseded},
                           present.rows, present.now, events);
    if (entry->cluster_id && present.rows.cluster(*entry->cluster_id)) {
      events.emplace_back(
          events::ClusterRemoved{*entry->cluster_id, events::ClusterRemovalReason::handed_back});
    }
  }
  events.emplace_back(events::RegistryStatusChanged{command.config_hash, entry->status,
                                                    command.status, cluster_id,
                                                    command.details.error_message});
  return {std::move(events)};
}

Decision<std::int64_t> decide(const IncrementUsage& command, const Present& present) {
  const auto entry = present.rows.entry(command.config_hash);
  if (!entry) return {};
  const std::int64_t count = one_more(entry->usage_count);
  return {{events::UsageIncremented{command.config_hash, count}}, count};
}

Decision<std::int64_t> decide(const DecrementUsage& command, const Present& present) {
  const auto entry = present.rows.entry(command.config_hash);
  if (!entry) return {};
  if (usage_of(*entry, present.rows).documented == 0)
    return {{}, std::max<std::int64_t>(entry->usage_count, 0)};
  const std::int64_t count = entry->usage_count - 1;
  return {{events::UsageDecremented{command.config_hash, count}}, count};
}

Decision<Removal> decide(const CleanUpEntry& command, const Present& present) {
  const auto entry = present.rows.entry(command.config_hash);
  if (!entry) return {};
  return remove_entries({*entry}, command.held, present);
}

Decision<Removal> decide(const ClearRegistry& command, const Present& present) {
  return remove_entries(present.rows.entries(), command.held, present);
}

bool is_joinable(const RegistryEntry& entry) { return entry.status != RegistryStatus::failed; }

}  // namespace dbcache::commands
