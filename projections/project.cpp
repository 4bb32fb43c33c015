#include "projections/project.hpp"

#include <algorithm>
#include <functional>
#include <variant>

namespace dbcache::projections {

using namespace rows;

namespace {

using namespace events;

template <class Row>
void put_new(Row row, std::int64_t position, Tables& tables) {
  row.id = position;
  tables.put(row);
}

void apply(const ClusterCached& event, std::int64_t position, Tables& tables) {
  put_new(event.cluster, position, tables);
}

void apply(const ClusterImported& event, std::int64_t position, Tables& tables) {
  put_new(event.cluster, position, tables);
}

void apply(const ClusterDeactivated& event, std::int64_t, Tables& tables) {
  tables.change_cluster(event.cluster_id, [](CachedCluster& row) { row.is_active = false; });
}

void apply(const ClusterAccessed& event, std::int64_t, Tables& tables) {
  tables.change_cluster(event.cluster_id, [&](CachedCluster& row) {
    row.last_accessed = event.last_accessed;
    row.access_count = event.access_count;
  });
}

void apply(const ClusterExpired& event, std::int64_t, Tables& tables) {
  tables.erase_cluster(event.cluster_id);
}

void apply(const ClusterRemoved& event, std::int64_t, Tables& tables) {
  tables.erase_cluster(event.cluster_id);
}

void apply(const CreationRegistered& event, std::int64_t position, Tables& tables) {
  RegistryEntry row;
  row.config_hash = event.config_hash;
  row.worker_pid = event.worker.pid;
  row.creation_time = event.creation_time;
  row.usage_count = 1;
  put_new(row, position, tables);

  Share share;
  share.config_hash = event.config_hash;
  share.worker.emplace().process = event.worker;
  tables.put(share);
}

void apply(const EntryImported& event, std::int64_t position, Tables& tables) {
  put_new(event.entry, position, tables);
}

void apply(const RegistryStatusChanged& event, std::int64_t, Tables& tables) {
  if (auto share = tables.share(event.config_hash)) {
    const Share before = *share;
    const auto entry = tables.entry(event.config_hash);
    const bool names_another = entry && entry->cluster_id != event.cluster_id;
    // Without a creation the change was a documented `mark`.
    if (share->origin == EntryOrigin::acquired && !share->creation) {
      if (names_another) {
        share->origin = EntryOrigin::documented;  // a cluster that `acquire` did not create
        share->created = false;
        share->idempotency_token.reset();
      } else if (event.to == RegistryStatus::ready) {
        share->created = true;
      }
    }
    if (names_another) share->alive_at.reset();
    share->failed_for_good = event.for_good;
    if (*share != before) tables.put(*share);
  }
  tables.change_entry(event.config_hash, [&](RegistryEntry& row) {
    row.status = event.to;
    row.cluster_id = event.cluster_id;
    row.error_message = event.error_message;
  });
}

void apply(const UsageIncremented& event, std::int64_t, Tables& tables) {
  tables.change_entry(event.config_hash,
                      [&](RegistryEntry& row) { row.usage_count = event.usage_count; });
}

void apply(const UsageDecremented& event, std::int64_t, Tables& tables) {
  tables.change_entry(event.config_hash,
                      [&](RegistryEntry& row) { row.usage_count = event.usage_count; });
}

void apply(const RegistryEntryRemoved& event, std::int64_t, Tables& tables) {
  tables.erase_entry(event.config_hash);
  tables.erase_share(event.config_hash);
}

// ---- Leases

void set_usage_count(std::string_view config_hash, std::int64_t count, Tables& tables) {
  tables.change_entry(config_hash, [&](RegistryEntry& row) { row.usage_count = count; });
}

/// An entry of an adopted database has no share yet.
void make_share_if_missing(const std::string& config_hash, Tables& tables) {
  if (tables.share(config_hash)) return;
  Share share;
  share.config_hash = config_hash;
  tables.put(share);
}

void apply(const CreationStarted& event, std::int64_t position, Tables& tables) {
  auto row = tables.entry(event.config_hash);
  if (!row) {
    row.emplace().id = position;
    row->config_hash = event.config_hash;
  }
  row->cluster_id = event.cluster_id;
  row->status = RegistryStatus::creating;
  row->worker_pid = event.holder.process.pid;
  row->creation_time = event.creation_time;
  row->usage_count = event.usage_count;
  row->error_message.reset();
  tables.put(*row);

  Share share;
  share.config_hash = event.config_hash;
  share.origin = EntryOrigin::acquired;
  share.host = event.host;
  share.worker = event.holder;
  share.creation = position;
  share.idempotency_token = event.idempotency_token;
  tables.put(share);
}

void apply(const LeaseGranted& event, std::int64_t position, Tables& tables) {
  if (!tables.entry(event.config_hash)) {
    // The cluster of DATABRICKS_CLUSTER_ID, which no creation made.
    RegistryEntry row;
    row.id = position;
    row.config_hash = event.config_hash;
    row.cluster_id = event.cluster_id;
    row.status = RegistryStatus::ready;
    row.creation_time = event.granted_at;
    tables.put(row);
    Share share;
    share.config_hash = event.config_hash;
    share.origin = EntryOrigin::environment;
    share.host = event.host;
    tables.put(share);
  }
  make_share_if_missing(event.config_hash, tables);
  set_usage_count(event.config_hash, event.usage_count, tables);
  tables.put(Lease{position, event.config_hash, event.cluster_id, event.holder, event.policy,
                   event.run, event.granted_at, event.created_here});
  tables.change_share(event.config_hash, [&](Share& share) {
    if (event.creation && share.creation == event.creation) {
      share.creation.reset();
      share.worker.reset();
      share.created = true;
    }
    if (event.run &&
        std::find(share.runs.begin(), share.runs.end(), *event.run) == share.runs.end())
      share.runs.push_back(*event.run);
  });
}

/// `learn` changes what is known of the cluster, if it is still the entry's.
template <class Ended>
void end_lease(const Ended& event, Tables& tables, const std::function<void(Share&)>& learn) {
  tables.erase_lease(event.lease);
  bool is_entrys = false;
  tables.change_entry(event.config_hash, [&](RegistryEntry& row) {
    row.usage_count = event.usage_count;
    is_entrys = row.cluster_id == event.cluster_id;
  });
  tables.change_share(event.config_hash, [&](Share& share) {
    if (share.creation == event.lease) {
      share.creation.reset();
      share.worker.reset();
    }
    if (event.policy) share.policy = event.policy;
    if (is_entrys) learn(share);
  });
}

void apply(const LeaseReleased& event, std::int64_t, Tables& tables) {
  end_lease(event, tables, [&](Share& share) {
    // During a check somebody doubts it.
    if (event.released_at && !share.check) share.alive_at = event.released_at;
  });
}
void apply(const LeaseLost& event, std::int64_t, Tables& tables) {
  end_lease(event, tables, [](Share& share) { share.alive_at.reset(); });
}

void apply(const LeaseRenewed& event, std::int64_t, Tables& tables) {
  if (auto lease = tables.lease(event.lease)) {
    lease->holder.lock_file.clear();
    lease->holder.lock = 0;
    lease->holder.until = event.until;
    lease->holder.deadline = event.deadline;
    tables.put(*lease);
  }
}

// The log alone tells who uses a cluster; no table does.
void apply(const ClusterUsed&, std::int64_t, Tables&) {}

void apply(const CheckStarted& event, std::int64_t position, Tables& tables) {
  make_share_if_missing(event.config_hash, tables);
  tables.change_share(event.config_hash, [&](Share& share) {
    share.check = position;
    share.checker = event.holder;
    share.alive_at.reset();
  });
}

void apply(const CheckAnswered& event, std::int64_t, Tables& tables) {
  const auto entry = tables.entry(event.config_hash);
  const bool is_entrys = entry && entry->cluster_id == event.cluster_id;
  tables.change_share(event.config_hash, [&](Share& share) {
    if (share.check != event.check) return;
    share.check.reset();
    share.checker.reset();
    if (is_entrys && event.answer == events::CheckAnswer::alive) share.alive_at = event.answered_at;
  });
}

void apply(const TerminationOwed& event, std::int64_t, Tables& tables) {
  PendingTermination pending;
  pending.subject = event.subject;
  pending.cluster_id = event.cluster_id;
  pending.idempotency_token = event.idempotency_token;
  pending.config_hash = event.config_hash;
  pending.host = event.host;
  pending.reason = boost::describe::enum_to_string(event.reason, "unknown");
  pending.owed_at = event.owed_at;
  tables.put(pending);
}

void apply(const TerminationStarted& event, std::int64_t position, Tables& tables) {
  const auto pending = tables.pending_termination(event.subject);
  tables.change_pending_termination(event.subject, [&](PendingTermination& row) {
    row.attempts += 1;
    row.termination = position;
    row.terminator = event.holder;
    row.error.reset();
    row.retry_at.reset();
  });
  // A creation from now on must ask for another cluster, so it needs a new token.
  tables.change_share(event.config_hash, [&](Share& share) {
    if (pending && share.idempotency_token == pending->idempotency_token)
      share.idempotency_token.reset();
  });
}

void apply(const TerminationDone& event, std::int64_t, Tables& tables) {
  tables.erase_pending_termination(event.subject);
}

void apply(const TerminationFailed& event, std::int64_t, Tables& tables) {
  tables.change_pending_termination(event.subject, [&](PendingTermination& row) {
    if (row.termination != event.termination) return;
    row.termination.reset();
    row.terminator.reset();
    row.error = event.error;
    row.retry_at = event.retry_at;
  });
}

void apply(const TerminationCancelled& event, std::int64_t, Tables& tables) {
  tables.erase_pending_termination(event.subject);
}

void apply(const RunJoined& event, std::int64_t position, Tables& tables) {
  tables.put(
      Participant{position, event.run, event.kind, event.name, event.holder, event.joined_at});
}

void apply(const RunLeft& event, std::int64_t, Tables& tables) {
  tables.erase_participant(event.participant);
}

}  // namespace

void project(const Event& event, std::int64_t position, Tables& tables) {
  std::visit([&](const auto& payload) { apply(payload, position, tables); }, event);
}

}  // namespace dbcache::projections
