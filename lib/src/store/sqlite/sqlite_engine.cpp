#include "store/sqlite/sqlite_engine.hpp"

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "store/sqlite/connection.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/lock_wait.hpp"
#include "store/sqlite/migrate.hpp"
#include "store/sqlite/sqlite_tables.hpp"

namespace dbcache::store::sqlite {
namespace {

std::uintmax_t size_of(const std::string& path, bool& exists) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  exists = !error;
  return error ? 0 : size;
}

}  // namespace

SqliteEngine::SqliteEngine(EngineOptions options)
    : options_(std::move(options)),
      locks_(options_),
      pool_(options_, locks_),
      commits_(options_, pool_, locks_) {
  require_short(options_.database);
  system::ForkGate::instance().enroll(*this);
}

SqliteEngine::~SqliteEngine() {
  system::ForkGate& gate = system::ForkGate::instance();
  if (gate.closed_to_this_process()) {
    // These connections are the parent's: closing them here would touch its files.
    pool_.abandon();
  } else {
    // Closing is a use like any other: no fork may come in the middle of it.
    const system::ForkGate::Pass pass;
    pool_.close();
    commits_.close_files();
  }
  gate.withdraw(*this);
}

bool SqliteEngine::exists() { return find_database(options_.database).has_value(); }

std::optional<std::string> SqliteEngine::identity() {
  const auto file = identify_database(options_.database);
  if (!file) return std::nullopt;
  return fmt::format("sqlite {} {}", file->device, file->inode);
}

std::optional<StateId> SqliteEngine::state() {
  const system::ForkGate::Pass pass;
  const auto file = find_database(options_.database);
  if (!file) return std::nullopt;
  return pool_.state(*file);
}

Timestamp SqliteEngine::now() { return wall_clock(); }

std::unique_ptr<LifeLock> SqliteEngine::take_lock() { return locks_.take_lock(shared_state()); }

std::unique_ptr<Wakeup> SqliteEngine::watch_holder(const rows::Holder& holder) {
  return locks_.watch(holder);
}

std::unique_ptr<Wakeup> SqliteEngine::watch_commits(std::optional<std::string_view>) {
  // A caller that only looks makes no file where there is no database.
  return commits_.watch(exists());
}

std::shared_ptr<SharedState> SqliteEngine::shared_state() {
  const system::ForkGate::Pass pass;
  const auto file = find_database(options_.database);
  return file ? commits_.share_state(*file) : nullptr;
}

bool SqliteEngine::claim_sweep(std::chrono::nanoseconds overdue) {
  const auto state = shared_state();
  return state && state->claim_sweep(overdue);
}

void SqliteEngine::swept(std::chrono::nanoseconds pause, std::size_t holders) {
  if (const auto state = shared_state()) state->swept(pause, holders);
}

std::optional<AdoptionReport> SqliteEngine::adoption() const { return pool_.adoption(); }

// ---- Transactions

void SqliteEngine::write(std::optional<Timestamp> now, const WriteWork& work, Grouping grouping,
                         LockScope) {
  commits_.write(now, work, grouping);
}

bool SqliteEngine::read(std::optional<Timestamp> now, const ReadWork& work, Patience) {
  LockWait wait(options_);
  for (;;) {
    if (const auto done = try_read(now, work)) return *done;
    wait.pause();
  }
}

std::optional<bool> SqliteEngine::try_read(std::optional<Timestamp> now, const ReadWork& work) {
  const system::ForkGate::Pass pass;
  try {
    try {
      return read_once(now, work);
    } catch (const SQLite::Exception& error) {
      throw_typed(error, options_.database);
    }
  } catch (const DatabaseLocked&) {
    return std::nullopt;
  }
}

bool SqliteEngine::read_once(std::optional<Timestamp> now, const ReadWork& work) {
  SessionPool::Loan session(pool_, SessionPool::Use::reading, SessionPool::Missing::leave, now);
  if (!session) return false;
  session.with([&] {
    Connection::Transaction transaction(session->connection,
                                        Connection::Transaction::Kind::reading);
    session.require_present_schema();
    const SqliteTables tables(session->connection);
    work({tables, session->log, locks_, now.value_or(this->now())});
    transaction.commit();
  });
  return true;
}

// ---- Around a fork

void SqliteEngine::before_fork(Users users) {
  commits_.lock_for_fork();
  pool_.lock_for_fork();
  if (users == Users::some) return;
  pool_.close_for_fork();
  commits_.close_files();
}

void SqliteEngine::after_fork_in_parent() {
  pool_.unlock_after_fork();
  commits_.unlock_in_parent();
}

void SqliteEngine::after_fork_in_child() {
  pool_.unlock_after_fork();
  commits_.reset_in_child();
}

// ---- The database as a whole

void SqliteEngine::optimize(Vacuum vacuum) {
  if (!exists()) return;
  // Two steps: readers may keep the WAL from being emptied, and only that is then tried again.
  commits_.with_writer([&](Connection& connection) {
    if (vacuum == Vacuum::yes) connection.vacuum();
    connection.execute("PRAGMA analysis_limit = 1000; ANALYZE");
  });
  commits_.with_writer([&](Connection& connection) {
    if (!connection.empty_wal()) throw DatabaseLocked{};
  });
}

DatabaseLocation SqliteEngine::location() const {
  return {options_.database, options_.database, ""};
}

DatabaseInfo SqliteEngine::info() {
  DatabaseInfo info;
  info.path = info.name = options_.database;
  static_cast<void>(find_database(options_.database));  // throws for a path that cannot be one
  info.database_size = size_of(options_.database, info.exists);
  info.wal_size = size_of(options_.database + "-wal", info.wal_exists);
  info.shm_size = size_of(options_.database + "-shm", info.shm_exists);
  return info;
}

std::int64_t SqliteEngine::schema_version() const { return newest_schema(); }

}  // namespace dbcache::store::sqlite
