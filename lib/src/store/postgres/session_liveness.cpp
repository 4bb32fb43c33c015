#include "store/postgres/session_liveness.hpp"

#include "store/postgres/session_keeper.hpp"
#include "store/process_verdict.hpp"

/// Whether nobody has a life lock. Let go of in the same statement: its holder may have lost its
/// session, and takes it again.
#define IS_FREE(lock)                           \
  "CASE WHEN pg_try_advisory_lock_shared(" lock \
  ") THEN "                                     \
  "pg_advisory_unlock_shared(" lock ") ELSE false END"

/// The number in a holder's JSON, whatever a hand has made of that.
#define LIFE_LOCK                                                            \
  "(SELECT CASE WHEN digits::numeric <= 9223372036854775807 THEN "           \
  "digits::bigint END FROM substring(holder FROM '\"lock\":([0-9]{1,19})') " \
  "AS digits)"

/// The life locks that somebody has, and locks of others that look like these.
#define HELD_LOCKS                                                                           \
  "SELECT (classid::bigint << 32) | objid::bigint FROM pg_catalog.pg_locks "                 \
  "WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND mode = 'ExclusiveLock' AND " \
  "database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"

namespace dbcache::store::postgres {

constexpr std::string_view select_standing_locks =
    "SELECT DISTINCT number FROM (SELECT " LIFE_LOCK
    " AS number FROM (SELECT holder FROM leases UNION ALL SELECT holder FROM participants UNION "
    "ALL "
    "SELECT worker FROM shares UNION ALL SELECT checker FROM shares UNION ALL "
    "SELECT terminator FROM terminations) AS kept (holder)) AS locks "
    "WHERE number = ANY (string_to_array(rtrim($1::text, ','), ',')::bigint[])";

std::string SessionLiveness::may_be_dead(std::string_view log) {
  std::string condition = R"((holder LIKE '%"until":"%' OR holder NOT LIKE '%"lock_file":"' || )";
  condition += log;
  condition += R"( || '"%' OR coalesce()" LIFE_LOCK " NOT IN (" HELD_LOCKS "), true))";
  return condition;
}

rows::Liveness::Verdict SessionLiveness::probe(const rows::Holder& holder) const {
  const bool is_ours = holder.lock_file == log_;
  if (is_ours && is_held(holder.lock)) return Verdict::alive;
  // Only now: to ask the kernel takes longer.
  const Verdict process = judge_process(holder.process, OtherBoot::unknown);
  if (!is_ours || process == Verdict::dead) return process;
  const auto suspicion = suspicion_of(holder.lock);
  if (!suspicion) {
    new_suspects_.push_back(holder.lock);
    return Verdict::alive;
  }
  return *suspicion ? Verdict::dead : Verdict::alive;
}

bool SessionLiveness::is_held(std::int64_t lock) const {
  // The server shares a session's own locks with it.
  if (keeper_.holds(lock)) return true;
  learn_foreseen();
  if (const auto known = held_.find(lock); known != held_.end()) return known->second;
  if (has_all_) return false;
  if (many_) {
    look_at_all();
    return held_.contains(lock);
  }
  const bool held =
      !transaction_.ask("SELECT " IS_FREE("$1::bigint"), Values().integer(lock)).is_true(0, 0);
  held_.emplace(lock, held);
  return held;
}

std::optional<bool> SessionLiveness::suspicion_of(std::int64_t lock) const {
  if (const auto known = suspicions_.find(lock); known != suspicions_.end()) return known->second;
  if (has_all_) return std::nullopt;
  const Result row = transaction_.ask(
      "SELECT since + $2::bigint * interval '1 second' <= clock_timestamp() FROM suspects "
      "WHERE lock = $1::bigint AND server_start = pg_postmaster_start_time()",
      Values().integer(lock).integer(grace.count()));
  const auto suspicion = row.rows() > 0 ? std::optional(row.is_true(0, 0)) : std::nullopt;
  suspicions_.emplace(lock, suspicion);
  return suspicion;
}

void SessionLiveness::look_at_all() const {
  std::optional<Result> locks;
  std::optional<Result> suspects;
  transaction_.expect(locks, HELD_LOCKS);
  transaction_.expect(
      suspects,
      "SELECT lock, since + $1::bigint * interval '1 second' <= clock_timestamp() FROM suspects "
      "WHERE server_start = pg_postmaster_start_time()",
      Values().integer(grace.count()));
  transaction_.run();
  has_all_ = true;
  for (int row = 0; row < locks->rows(); ++row) held_.emplace(locks->integer(row, 0), true);
  for (int row = 0; row < suspects->rows(); ++row) {
    suspicions_.emplace(suspects->integer(row, 0), suspects->is_true(row, 1));
  }
}

void SessionLiveness::foresee(std::string_view config_hash,
                              std::optional<std::int64_t> lease) const {
  transaction_.expect(
      first_leases_,
      "SELECT number, " IS_FREE("number") " FROM (SELECT " LIFE_LOCK
                                          " AS number FROM leases WHERE config_hash = $1::text "
                                          "ORDER BY id LIMIT 2) AS first "
                                          "WHERE number IS NOT NULL",
      Values().text(config_hash));
  if (!lease) return;
  transaction_.expect(
      one_lease_,
      "SELECT number, " IS_FREE("number") " FROM (SELECT " LIFE_LOCK
                                          " AS number FROM leases WHERE id = $1::bigint) AS one "
                                          "WHERE number IS NOT NULL",
      Values().integer(*lease));
}

void SessionLiveness::learn_foreseen() const {
  for (std::optional<Result>* const answer : {&first_leases_, &one_lease_}) {
    if (!*answer) continue;
    for (int row = 0; row < (*answer)->rows(); ++row) {
      held_.emplace((*answer)->integer(row, 0), !(*answer)->is_true(row, 1));
    }
    answer->reset();
  }
}

void SessionLiveness::note_suspects(Connection& connection) const noexcept {
  if (new_suspects_.empty()) return;
  try {
    connection.queue(lock_suspects);
    for (const std::int64_t lock : new_suspects_) {
      // Not if the holder has taken the lock again meanwhile: nothing would end that suspicion, and
      // the next time the holder would have no grace.
      connection.queue(
          "INSERT INTO suspects AS known (lock, server_start, since) "
          "SELECT $1::bigint, pg_postmaster_start_time(), clock_timestamp() "
          "WHERE $1::bigint NOT IN (" HELD_LOCKS
          ") "
          "ON CONFLICT (lock) DO UPDATE SET server_start = excluded.server_start, "
          "since = excluded.since WHERE known.server_start <> excluded.server_start",
          Values().integer(lock));
    }
    connection.queue("DELETE FROM suspects WHERE since < clock_timestamp() - interval '1 day'");
    connection.run();  // so that the next transaction of any connection finds them
  } catch (const std::exception&) {
    // The connection is lost; its next use throws.
  }
  new_suspects_.clear();
}

}  // namespace dbcache::store::postgres
