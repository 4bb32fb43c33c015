#include <algorithm>
#include <chrono>
#include <unistd.h>

#include <sys/syscall.h>

#include "events/event.hpp"
#include "store/postgres/engine_session.hpp"
#include "store/postgres/postgres_engine.hpp"
#include "store/process_verdict.hpp"
#include "system/descriptor.hpp"

// How holders show that they live, what wakes those who wait, and when a sweep is due.
namespace dbcache::store::postgres {
namespace {

using std::chrono::steady_clock;

/// Readable once a process of this machine has ended.
class ProcessWakeup final : public Wakeup {
 public:
  explicit ProcessWakeup(std::int64_t pid)
      : process_(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))) {}
  [[nodiscard]] int descriptor() const override { return process_.get(); }
  void clear() override {}  // a process ends once

 private:
  system::Descriptor process_;
};

}  // namespace

std::unique_ptr<LifeLock> PostgresEngine::take_lock() {
  std::unique_ptr<LifeLock> lock;
  with_session(deadline(), Missing::create,
               [&](Session& session) { lock = keeper_->take_lock(session.version.log); });
  return lock;
}

std::unique_ptr<Wakeup> PostgresEngine::watch_holder(const rows::Holder& holder) {
  // A process on another machine cannot be watched; callers look now and then.
  if (judge_process(holder.process, OtherBoot::unknown) != rows::Liveness::Verdict::alive) {
    return std::make_unique<NoWakeup>();
  }
  const system::ForkGate::Pass pass;
  return std::make_unique<ProcessWakeup>(holder.process.pid);
}

std::unique_ptr<Wakeup> PostgresEngine::watch_commits(std::optional<std::string_view> config_hash) {
  std::optional<std::string> registry;
  if (config_hash) registry = events::registry_stream(*config_hash);
  std::unique_ptr<Wakeup> wakeup = std::make_unique<NoWakeup>();
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number == 0) return;
    wakeup = keeper_->watch_commits(*session.connection, registry);
  });
  return wakeup;
}

bool PostgresEngine::is_crowded() {
  // A quarter stays free: for creators' own programs, and for those who come to release.
  // The function, not the view pg_stat_activity over it: to plan that takes a new session 10 ms.
  constexpr std::string_view has_little_room =
      "WITH sessions AS (SELECT datid, usesysid FROM pg_catalog.pg_stat_get_activity(NULL) "
      "WHERE datid IS NOT NULL) "
      "SELECT coalesce(bool_or(most - used < greatest(2, most / 4)), false) FROM ("
      "SELECT current_setting('max_connections')::bigint - "
      "current_setting('superuser_reserved_connections')::bigint - "
      "coalesce(current_setting('reserved_connections', true)::bigint, 0) AS most, "
      "(SELECT count(*) FROM sessions) AS used "
      "UNION ALL SELECT rolconnlimit, (SELECT count(*) FROM sessions WHERE usesysid = role.oid) "
      "FROM pg_catalog.pg_roles AS role WHERE rolname = session_user AND rolconnlimit > 0 "
      "UNION ALL SELECT datconnlimit, (SELECT count(*) FROM sessions WHERE datid = database.oid) "
      "FROM pg_catalog.pg_database AS database "
      "WHERE datname = current_database() AND datconnlimit > 0) AS limits";
  bool crowded = false;
  with_session(deadline(), Missing::leave, [&](Session& session) {
    crowded = session.connection->ask(has_little_room).is_true(0, 0);
  });
  return crowded;
}

bool PostgresEngine::claim_sweep(std::chrono::nanoseconds overdue) {
  const Moment now = steady_clock::now();
  if ((now - overdue).time_since_epoch().count() < sweep_due_) return false;
  sweep_due_ = (now + std::chrono::seconds{1}).time_since_epoch().count();
  bool claimed = false;
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number == 0) return;
    // Another session that is just claiming it is not waited for.
    try {
      claimed = session.connection
                    ->ask(
                        "UPDATE sweeps SET due = clock_timestamp() + interval '1 second' "
                        "WHERE ctid IN (SELECT ctid FROM sweeps WHERE due <= clock_timestamp() - "
                        "$1::bigint * interval '1 microsecond' OR due > clock_timestamp() + "
                        "interval '1 minute' "
                        "FOR UPDATE SKIP LOCKED) RETURNING true",
                        Values().integer(
                            std::chrono::duration_cast<std::chrono::microseconds>(overdue).count()))
                    .rows() > 0;
    } catch (const ServerError& error) {
      // Until the owner runs roles.sql again, each process keeps the time for itself.
      if (error.state() != "42501") throw;
      claimed = true;
    }
  });
  return claimed;
}

void PostgresEngine::swept(std::chrono::nanoseconds after, std::size_t) {
  constexpr std::chrono::nanoseconds longest = std::chrono::minutes{1};
  const auto pause = std::min(after, longest);
  sweep_due_ = (steady_clock::now() + pause).time_since_epoch().count();
  if (pause <= std::chrono::seconds{1}) return;
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number == 0) return;
    session.connection->queue(
        "UPDATE sweeps SET due = greatest(due, clock_timestamp() + $1::bigint * interval '1 "
        "microsecond')",
        Values().integer(std::chrono::duration_cast<std::chrono::microseconds>(pause).count()));
    session.connection->run();
  });
}

}  // namespace dbcache::store::postgres
