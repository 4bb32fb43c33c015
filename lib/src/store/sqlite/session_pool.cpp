#include "store/sqlite/session_pool.hpp"

#include <cstring>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/migrate.hpp"

namespace dbcache::store::sqlite {
namespace {

constexpr std::size_t most_idle_sessions = 4;

/// Rows that the Python system had deleted may still stand in free pages, with their secrets.
void forget_deleted_rows(Connection& connection, AdoptionReport& report) {
  std::string reason = "others use it";
  try {
    connection.vacuum();
    if (connection.empty_wal()) return;
  } catch (const SQLite::Exception& error) {
    reason = error.what();
  }
  // The adopted rows are committed, and a failure here must not undo that.
  report.notes.push_back(fmt::format(
      "what was there before may still stand in free pages or in the WAL ({}): `dbcache "
      "optimize --vacuum` rewrites the file without it",
      reason));
}

void use_wal(Connection& connection, const std::string& path) {
  auto mode = connection.prepare("PRAGMA journal_mode = WAL");
  mode->step();
  const bool is_wal = mode->bytes(0) == "wal";
  mode->step();  // the mode is told before it is written, which may fail
  if (is_wal) return;
  throw StorageFailure(fmt::format(
      "the database {} cannot be switched to a write-ahead log; put it on a local disk", path));
}

}  // namespace

SessionPool::SessionPool(const EngineOptions& options, const rows::Liveness& liveness)
    : options_(options), liveness_(liveness) {
  // Giving a session back must not throw.
  idle_writers_.reserve(most_idle_sessions);
  idle_readers_.reserve(most_idle_sessions);
}

std::optional<StateId> SessionPool::state(const FileIdentity& file) {
  const std::lock_guard lock(mutex_);
  if (idle_readers_.empty() || idle_readers_.back()->file != file) return std::nullopt;
  const auto header = idle_readers_.back()->connection.wal_index_header();
  if (!header) return std::nullopt;
  // A header is unique only while a connection is open: closing the last one removes the WAL, and
  // the next WAL begins with the same header again. The session's number tells the two apart.
  StateId state{file.device, file.inode, idle_readers_.back()->serial};
  std::memcpy(&state[3], header->data(), sizeof *header);
  static_assert(3 * sizeof state[0] + sizeof *header == sizeof state);
  return state;
}

std::optional<AdoptionReport> SessionPool::adoption() const {
  const std::lock_guard lock(mutex_);
  return adoption_;
}

std::uint64_t SessionPool::replacements() const {
  const std::lock_guard lock(mutex_);
  return replacements_;
}

void SessionPool::close_idle() {
  const std::lock_guard lock(mutex_);
  close_idle_locked();
}

void SessionPool::close_idle_locked() {
  for (auto* idle : {&idle_writers_, &idle_readers_}) {
    for (const SessionPointer& session : *idle) session->connection.leave_wal_on_close();
    idle->clear();
  }
}

void SessionPool::close() {
  idle_writers_.clear();
  idle_readers_.clear();
}

void SessionPool::abandon() noexcept {
  for (auto* idle : {&idle_writers_, &idle_readers_}) {
    for (SessionPointer& session : *idle) static_cast<void>(session.release());
  }
}

// ---- Taking and opening

SessionPool::SessionPointer SessionPool::take(Use use, Missing missing,
                                              std::optional<Timestamp> now) {
  const auto file = find_database(options_.database);
  SessionPointer session;
  {
    const std::lock_guard lock(mutex_);
    if (opened_ && opened_->database != file) forget_replaced(file);
    if (!idle(use).empty()) {
      session = std::move(idle(use).back());
      idle(use).pop_back();
    }
  }
  if (session) {
    if (session->file == file) return session;
    session->connection.leave_wal_on_close();
    session.reset();
  }
  if (!file && missing == Missing::leave) return nullptr;
  return open(missing, now);
}

void SessionPool::forget_replaced(const std::optional<FileIdentity>& file) {
  // SQLite would take the old file's WAL for the new file's, and write old pages into the new file
  // (https://www.sqlite.org/howtocorrupt.html, 1.4).
  const auto wal = find_wal(options_.database);
  if (file && wal && !wal->empty && opened_->wal == wal->file) {
    throw StorageFailure(fmt::format(
        "another file was put in the place of the database {0}, beside the WAL of the one before; "
        "put that one back, or remove {0}-wal and {0}-shm to go on with the new one",
        options_.database));
  }
  close_idle_locked();
  opened_.reset();
  ++replacements_;
}

SessionPool::SessionPointer SessionPool::open(Missing missing, std::optional<Timestamp> now) {
  if (missing == Missing::create) create_directories_for(options_.database);
  require_usable(options_.database);
  auto session = std::make_unique<Session>(options_.database, missing == Missing::create
                                                                  ? Connection::Mode::create
                                                                  : Connection::Mode::existing);
  Connection& connection = session->connection;
  if (!make_ready(connection, missing, now)) return nullptr;
  // SQLite syncs checkpoints, and a WAL that it begins anew. WalSync syncs commits.
  connection.execute("PRAGMA synchronous = NORMAL");
  align_side_files(options_.database);
  const auto file = find_database(options_.database);
  if (!file || connection.has_moved()) throw DatabaseLocked{};  // replaced just now: begin again
  session->file = *file;
  const std::lock_guard lock(mutex_);
  session->serial = ++sessions_;
  // An empty WAL counts too: it will not stay empty.
  const auto wal = find_wal(options_.database);
  opened_ = Opened{*file, wal ? std::optional(wal->file) : std::nullopt};
  return session;
}

bool SessionPool::make_ready(Connection& connection, Missing missing,
                             std::optional<Timestamp> now) {
  const auto wal = find_wal(options_.database);
  const bool has_wal = wal && !wal->empty;
  Content content{};
  try {
    content = look_into(connection, options_.database);
  } catch (...) {
    // A refused database stays as it is: closing would move its WAL into it.
    if (has_wal) connection.leave_wal_on_close();
    throw;
  }
  if (content == Content::nothing && missing == Missing::leave) return false;

  use_wal(connection, options_.database);
  if (content == Content::ours) return true;
  connection.execute("PRAGMA synchronous = FULL");
  // Adopting rewrites rows that may hold secrets: none may stay in free pages.
  connection.execute("PRAGMA secure_delete = ON");
  const Timestamp at = now.value_or(wall_clock());
  if (auto report = migrate(connection, at, options_.adopt, liveness_)) {
    forget_deleted_rows(connection, *report);
    const std::lock_guard lock(mutex_);
    adoption_ = std::move(report);
  }
  return true;
}

void SessionPool::give_back(Use use, SessionPointer session) {
  const std::lock_guard lock(mutex_);
  if (idle(use).size() < most_idle_sessions) idle(use).push_back(std::move(session));
}

// ---- Loans

void SessionPool::Loan::give_back() {
  if (session_ && broken_) session_->connection.leave_wal_on_close();
  if (session_ && !broken_) pool_.give_back(use_, std::move(session_));
  session_.reset();
}

void SessionPool::Loan::require_present_schema() {
  if (session_->connection.integer("PRAGMA user_version") == newest_schema()) return;
  broken();
  throw DatabaseLocked{};
}

}  // namespace dbcache::store::sqlite
