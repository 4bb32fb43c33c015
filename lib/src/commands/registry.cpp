#include "commands/registry.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::commands {

using projections::TableReader;

Decision<Registered> decide(const RegisterCreation& command, const TableReader& rows,
                            Timestamp now) {
  if (const auto entry = rows.entry(command.config_hash)) {
    return {{}, {.created = false, .joinable = is_joinable(*entry)}};
  }
  return {{events::CreationRegistered{command.config_hash, now, command.worker}},
          {.created = true, .joinable = true}};
}

Events decide(const ChangeStatus& command, const TableReader& rows, Timestamp) {
  const auto entry = rows.entry(command.config_hash);
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
  return {events::RegistryStatusChanged{command.config_hash, entry->status, command.status,
                                        cluster_id, command.details.error_message}};
}

Decision<std::int64_t> decide(const IncrementUsage& command, const TableReader& rows, Timestamp) {
  const auto entry = rows.entry(command.config_hash);
  if (!entry) return {};
  const std::int64_t count = one_more(entry->usage_count);
  return {{events::UsageIncremented{command.config_hash, count}}, count};
}

Decision<std::int64_t> decide(const DecrementUsage& command, const TableReader& rows, Timestamp) {
  const auto entry = rows.entry(command.config_hash);
  if (!entry || entry->usage_count <= 0) return {};
  const std::int64_t count = entry->usage_count - 1;
  return {{events::UsageDecremented{command.config_hash, count}}, count};
}

Events decide(const CleanUpEntry& command, const TableReader& rows, Timestamp) {
  if (!rows.entry(command.config_hash)) return {};
  return {
      events::RegistryEntryRemoved{command.config_hash, events::EntryRemovalReason::cleaned_up}};
}

Decision<std::size_t> decide(const ClearRegistry&, const TableReader& rows, Timestamp) {
  Decision<std::size_t> decision;
  const auto entries = rows.entries();
  // Oldest first, as for clusters.
  std::transform(entries.rbegin(), entries.rend(), std::back_inserter(decision.events),
                 [](const RegistryEntry& entry) {
                   return events::RegistryEntryRemoved{entry.config_hash,
                                                       events::EntryRemovalReason::cleaned_up};
                 });
  decision.result = entries.size();
  return decision;
}

bool is_joinable(const RegistryEntry& entry) { return entry.status != RegistryStatus::failed; }

}  // namespace dbcache::commands
