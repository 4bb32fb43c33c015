#include "commands/terminations.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "commands/leases.hpp"

namespace dbcache::commands {

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

bool is_named(const std::string& cluster_id, const Present& present) {
  const auto entries = present.rows.naming(cluster_id);
  return std::any_of(entries.begin(), entries.end(),
                     [](const TableReader::Naming& named) {
                       return named.entry.status != RegistryStatus::failed;
                     }) ||
         is_cluster_held(cluster_id, present);
}

bool others_have(const std::string& cluster_id, const std::string& but, const Present& present) {
  const auto entries = present.rows.naming(cluster_id);
  return is_cluster_held(cluster_id, present) ||
         std::any_of(entries.begin(), entries.end(), [&](const TableReader::Naming& named) {
           return named.entry.config_hash != but && named.entry.status != RegistryStatus::failed;
         });
}

void owe_unless_named(Owed owed, const Present& present, Events& events) {
  if (owed.cluster_id && is_named(*owed.cluster_id, present)) return;
  owe(std::move(owed), present.rows, present.now, events);
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
  const auto entries = rows.naming(cluster_id);
  return std::any_of(entries.begin(), entries.end(), [&](const TableReader::Naming& named) {
    const auto& [entry, share] = named;
    return entry.config_hash != but && share && share->origin == rows::EntryOrigin::acquired &&
           (share->created || entry.status != RegistryStatus::failed) && !goes(entry.config_hash);
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

namespace {

/// The pending termination as it is now, if this caller may begin it.
std::optional<PendingTermination> claimable(const PendingTermination& picked,
                                            const ClaimTermination& command,
                                            const Present& present) {
  if (command.skip.contains(picked.subject)) return std::nullopt;
  // The same cluster may be owed by its id and by its token: both are of one configuration.
  const auto all = present.rows.pending_terminations_of(picked.config_hash);
  const bool under_way = std::any_of(all.begin(), all.end(), [&](const PendingTermination& other) {
    return other.termination &&
           (other.subject == picked.subject ||
            (other.idempotency_token && other.idempotency_token == picked.idempotency_token));
  });
  if (under_way) return std::nullopt;
  auto pending = present.rows.pending_termination(picked.subject);
  if (!pending || pending->termination || (!command.every_host && pending->host != command.host) ||
      (command.in_passing && pending->retry_at && present.now < *pending->retry_at) ||
      (pending->cluster_id && is_cluster_held(*pending->cluster_id, present))) {
    return std::nullopt;
  }
  return pending;
}

}  // namespace

Decision<std::optional<PendingTermination>> decide(const ClaimTermination& command,
                                                   const Present& present) {
  const auto claim = [&](PendingTermination pending) {
    Decision<std::optional<PendingTermination>> decision;
    decision.events.emplace_back(
        events::TerminationStarted{pending.subject, pending.config_hash, command.holder});
    decision.result = std::move(pending);
    return decision;
  };
  if (command.subject) {
    const auto picked = present.rows.pending_termination(*command.subject);
    auto pending = picked ? claimable(*picked, command, present) : std::nullopt;
    return pending ? claim(std::move(*pending)) : Decision<std::optional<PendingTermination>>{};
  }
  constexpr std::size_t page = 16;
  const auto due_by = command.in_passing ? std::optional(present.now) : std::nullopt;
  for (std::size_t behind = 0;; behind += page) {
    const auto waiting =
        present.rows.waiting_terminations(command.every_host, command.host, due_by, behind, page);
    for (const PendingTermination& picked : waiting) {
      if (auto pending = claimable(picked, command, present)) return claim(std::move(*pending));
    }
    if (waiting.size() < page) return {};
  }
}

std::chrono::minutes pause_after(std::int64_t attempts) {
  constexpr std::chrono::minutes longest = std::chrono::hours{1};
  constexpr std::int64_t enough = 7;  // by then it exceeds the longest
  const auto doublings = std::clamp<std::int64_t>(attempts, 1, enough) - 1;
  return std::min(std::chrono::minutes{1} * (1 << doublings), longest);
}

Decision<> decide(const FinishTermination& command, const Present& present) {
  const auto pending = present.rows.pending_termination(command.subject);
  if (!pending || pending->termination != command.termination.position ||
      !is_ours(named<events::TerminationStarted>(command.termination), present)) {
    return {};
  }
  if (command.error) {
    return {
        {events::TerminationFailed{command.subject, command.termination.position, *command.error,
                                   present.now + pause_after(pending->attempts)}}};
  }
  return {{events::TerminationDone{command.subject, command.termination.position}}};
}

}  // namespace dbcache::commands
