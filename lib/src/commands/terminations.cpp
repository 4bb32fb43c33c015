#include "commands/terminations.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::commands {

using rows::Lease;
using rows::PendingTermination;
using rows::TableReader;

void owe(Owed owed, const rows::TableReader& rows, Timestamp now, Events& events) {
  std::string subject =
      owed.cluster_id ? *owed.cluster_id : owed.idempotency_token.value_or(std::string());
  const bool decided = std::any_of(events.begin(), events.end(), [&](const events::Event& event) {
    const auto* pending = std::get_if<events::TerminationOwed>(&event);
    return pending != nullptr && pending->subject == subject;
  });
  if (subject.empty() || decided || rows.pending_termination(subject)) return;
  events.emplace_back(events::TerminationOwed{
      std::move(subject), std::move(owed.cluster_id), std::move(owed.idempotency_token),
      std::move(owed.config_hash), std::move(owed.host), owed.reason, now});
}

void owe_unless_named(Owed owed, const rows::TableReader& rows, Timestamp now, Events& events) {
  if (owed.cluster_id && is_named(*owed.cluster_id, "", rows)) return;
  owe(std::move(owed), rows, now, events);
}

void owe_unless_others_name(Owed owed, const rows::TableReader& rows, Timestamp now,
                            Events& events) {
  if (owed.cluster_id && others_keep(*owed.cluster_id, owed.config_hash, rows, events)) return;
  owe(std::move(owed), rows, now, events);
}

bool others_keep(const std::string& cluster_id, const std::string& but, const TableReader& rows,
                 const Events& events) {
  const auto goes = [&](const std::string& config_hash) {
    return std::any_of(events.begin(), events.end(), [&](const events::Event& event) {
      const auto* removed = std::get_if<events::RegistryEntryRemoved>(&event);
      return removed != nullptr && removed->config_hash == config_hash;
    });
  };
  const auto entries = rows.entries();
  return std::any_of(entries.begin(), entries.end(), [&](const RegistryEntry& entry) {
    if (entry.cluster_id != cluster_id || entry.config_hash == but) return false;
    const auto share = rows.share(entry.config_hash);
    return share && share->origin == rows::EntryOrigin::acquired &&
           (share->created || entry.status != RegistryStatus::failed) && !goes(entry.config_hash);
  });
}

bool is_named(const std::string& cluster_id, const std::string& but, const TableReader& rows) {
  const auto entries = rows.entries();
  const auto leases = rows.leases();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const RegistryEntry& entry) {
                       return entry.cluster_id == cluster_id && entry.config_hash != but &&
                              entry.status != RegistryStatus::failed;
                     }) ||
         std::any_of(leases.begin(), leases.end(), [&](const Lease& lease) {
           return lease.cluster_id == cluster_id && lease.config_hash != but;
         });
}

void reclaim(const std::string& cluster_id, const TableReader& rows, Events& events) {
  const auto pending = rows.pending_termination(cluster_id);
  if (!pending) return;
  if (pending->attempts > 0) {
    throw Busy(
        fmt::format("the cluster {} is being terminated ({}); wait until `dbcache owed` no longer "
                    "lists it, or use another cluster",
                    cluster_id, pending->reason));
  }
  events.emplace_back(events::TerminationCancelled{pending->subject, events::CancelReason::in_use});
}

Decision<std::optional<PendingTermination>> decide(const ClaimTermination& command,
                                                   const Present& present) {
  auto all_pending = present.rows.pending_terminations();
  std::stable_sort(all_pending.begin(), all_pending.end(),
                   [](const PendingTermination& a, const PendingTermination& b) {
                     return a.owed_at < b.owed_at;
                   });
  const auto leases = present.rows.leases();
  for (const PendingTermination& pending : all_pending) {
    const bool leased = std::any_of(leases.begin(), leases.end(), [&](const Lease& lease) {
      return lease.cluster_id == pending.cluster_id;
    });
    // The same cluster may be owed by its id and by its token.
    const bool being_terminated =
        std::any_of(all_pending.begin(), all_pending.end(), [&](const PendingTermination& other) {
          return other.termination && (other.subject == pending.subject ||
                                       (other.idempotency_token &&
                                        other.idempotency_token == pending.idempotency_token));
        });
    if (leased || being_terminated || command.skip.contains(pending.subject) ||
        (command.subject && pending.subject != command.subject) ||
        (!command.every_host && pending.host != command.host)) {
      continue;
    }
    return {{events::TerminationStarted{pending.subject, pending.config_hash, command.holder}},
            pending};
  }
  return {};
}

Decision<> decide(const FinishTermination& command, const Present& present) {
  const auto pending = present.rows.pending_termination(command.subject);
  if (!pending || pending->termination != command.termination) return {};
  if (command.error) {
    return {{events::TerminationFailed{command.subject, command.termination, *command.error}}};
  }
  return {{events::TerminationDone{command.subject, command.termination}}};
}

}  // namespace dbcache::commands
