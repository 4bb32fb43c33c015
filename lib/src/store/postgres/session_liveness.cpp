#include "store/postgres/session_liveness.hpp"

#include "store/process_verdict.hpp"

namespace dbcache::store::postgres {

rows::Liveness::Verdict SessionLiveness::probe(const rows::Holder& holder) const {
  const Verdict process = judge_process(holder.process, OtherBoot::unknown);
  if (holder.lock_file != log_) return process;
  if (!server_) look();
  if (server_->held.contains(holder.lock)) return Verdict::alive;
  if (process == Verdict::dead) return process;
  const auto suspect = server_->suspects.find(holder.lock);
  if (suspect == server_->suspects.end()) {
    new_suspects_.push_back(holder.lock);
    return Verdict::alive;
  }
  return suspect->second ? Verdict::dead : Verdict::alive;
}

void SessionLiveness::look() const {
  std::optional<Result> locks;
  std::optional<Result> suspects;
  transaction_.expect(
      locks,
      "SELECT (classid::bigint << 32) | objid::bigint FROM pg_catalog.pg_locks "
      "WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = "
      "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())");
  transaction_.expect(
      suspects,
      "SELECT lock, since + $1::bigint * interval '1 second' <= clock_timestamp() FROM suspects "
      "WHERE server_start = pg_postmaster_start_time()",
      Values().integer(grace.count()));
  transaction_.run();
  server_.emplace();
  for (int row = 0; row < locks->rows(); ++row) {
    server_->held.insert(locks->integer(row, 0));
  }
  for (int row = 0; row < suspects->rows(); ++row) {
    server_->suspects.emplace(suspects->integer(row, 0), suspects->is_true(row, 1));
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
          "SELECT $1::bigint, pg_postmaster_start_time(), clock_timestamp() WHERE NOT EXISTS ("
          "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND "
          "granted AND (classid::bigint << 32) | objid::bigint = $1::bigint AND database = "
          "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) "
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
