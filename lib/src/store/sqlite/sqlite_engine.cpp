#include "store/sqlite/sqlite_engine.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <random>
#include <sqlite3.h>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/checkpointer.hpp"
#include "store/sqlite/connection.hpp"
#include "store/sqlite/migrate.hpp"
#include "store/sqlite/sqlite_event_log.hpp"
#include "store/sqlite/sqlite_tables.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t most_idle_sessions = 4;

/// A lock held by a program that takes no turns is asked for ever less often.
constexpr milliseconds first_lock_pause{1};
constexpr milliseconds most_lock_pause{50};

microseconds random_between(microseconds least, microseconds most) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return microseconds(
      std::uniform_int_distribution<microseconds::rep>(least.count(), most.count())(random));
}

void throw_if_past(std::chrono::steady_clock::time_point deadline, const EngineOptions& options) {
  if (std::chrono::steady_clock::now() < deadline) return;
  throw Busy(
      fmt::format("the database {} stayed locked by another process for {} s; see who holds it "
                  "(lsof), or raise "
                  "the busy timeout",
                  options.database, std::chrono::duration<double>(options.busy_timeout).count()));
}

/// Whether what SQLite said last is that a sync failed.
bool is_failed_sync(Connection& connection) {
  return Connection::is_failed_sync(sqlite3_extended_errcode(connection.database().getHandle()));
}

/// The same error as an object of its own, text and all: each thread throws and drops its own.
std::exception_ptr another(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const StorageFailure& failure) {
    return std::make_exception_ptr(StorageFailure(std::string(failure.what()), failure.outcome()));
  } catch (const CorruptDatabase& corrupt) {
    return std::make_exception_ptr(CorruptDatabase(std::string(corrupt.what())));
  } catch (...) {
    return error;
  }
}

/// For those of the writes that have not failed by themselves.
void fail(const WriteQueue::Batch& batch, const std::exception_ptr& error) {
  for (QueuedWrite* const write : batch) {
    if (!write->error) write->error = another(error);
  }
}

/// Rows that the Python system had deleted may still stand in free pages, with their secrets.
void forget_deleted_rows(Connection& connection, AdoptionReport& report) {
  std::string reason = "others use it";
  try {
    connection.vacuum();
    if (connection.empty_wal()) return;
  } catch (const SQLite::Exception& error) {
    reason = error.what();
  }
  // What was adopted is committed, and must not fail for this.
  report.notes.push_back(fmt::format(
      "what was there before may still stand in free pages or in the WAL ({}): `dbcache "
      "optimize --vacuum` rewrites the file without it",
      reason));
}

std::uintmax_t size_of(const std::string& path, bool& exists) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  exists = !error;
  return error ? 0 : size;
}

}  // namespace

/// A connection with the log that is read and written through it.
struct SqliteEngine::Session {
  Session(const std::string& path, Connection::Mode mode) : connection(path, mode) {}

  Connection connection;
  SqliteEventLog log{connection};
  FileIdentity file;
  std::uint64_t serial = 0;
};

/// A session in use; given back at the end, unless what went wrong may lie in the connection
/// itself.
class SqliteEngine::Loan {
 public:
  Loan(SqliteEngine& engine, std::vector<SessionPointer>& idle, Missing missing,
       std::optional<Timestamp> now)
      : engine_(engine), idle_(idle), session_(engine.take(idle, missing, now)) {}
  ~Loan() { give_back(); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  explicit operator bool() const { return session_ != nullptr; }
  Session& operator*() const { return *session_; }
  Session* operator->() const { return session_.get(); }

  void broken() { broken_ = true; }
  void give_back() {
    if (session_ && broken_) session_->connection.leave_wal_on_close();
    if (session_ && !broken_) engine_.give_back(idle_, std::move(session_));
    session_.reset();
  }

  /// Runs `use`, and keeps the session from being given back where SQLite or the disk fails, but
  /// for locks.
  template <class Use>
  void with(Use use) {
    try {
      use();
    } catch (const SQLite::Exception& error) {
      broken_ = broken_ || error.getErrorCode() != SQLITE_BUSY;
      throw;
    } catch (const StorageFailure&) {
      broken_ = true;
      throw;
    }
  }

 private:
  SqliteEngine& engine_;
  std::vector<SessionPointer>& idle_;
  SessionPointer session_;
  bool broken_ = false;
};

SqliteEngine::SqliteEngine(EngineOptions options)
    : options_(std::move(options)),
      turn_(options_.database),
      signal_(options_.database),
      locks_(options_.database) {
  // Giving a session back throws nothing.
  idle_writers_.reserve(most_idle_sessions);
  idle_readers_.reserve(most_idle_sessions);
  system::ForkGate::instance().enroll(*this);
}

SqliteEngine::~SqliteEngine() {
  system::ForkGate& gate = system::ForkGate::instance();
  if (gate.closed_to_this_process()) {
    // These connections are the parent's: closing them here would touch its files.
    for (auto* idle : {&idle_writers_, &idle_readers_}) {
      for (SessionPointer& session : *idle) static_cast<void>(session.release());
    }
  } else {
    // Closing is a use like any other: no fork may come in the middle of it.
    const system::ForkGate::Pass pass;
    idle_writers_.clear();
    idle_readers_.clear();
    close_side_files();
  }
  gate.withdraw(*this);
}

bool SqliteEngine::exists() { return find_database(options_.database).has_value(); }

std::optional<std::string> SqliteEngine::identity() {
  const auto file = find_database(options_.database);
  if (!file) return std::nullopt;
  return fmt::format("sqlite {} {}", file->device, file->inode);
}

std::optional<StateId> SqliteEngine::state() {
  const system::ForkGate::Pass pass;
  const auto file = find_database(options_.database);
  if (!file) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (idle_readers_.empty() || idle_readers_.back()->file != *file) return std::nullopt;
  const auto header = idle_readers_.back()->connection.wal_index_header();
  if (!header) return std::nullopt;
  // A header is given once while a connection is open: whoever closes last takes the WAL away, and
  // the next one begins with the same header again.
  StateId state{file->device, file->inode, idle_readers_.back()->serial};
  std::memcpy(&state[3], header->data(), sizeof *header);
  static_assert(3 * sizeof state[0] + sizeof *header == sizeof state);
  return state;
}

Timestamp SqliteEngine::now() {
  return std::chrono::floor<microseconds>(std::chrono::system_clock::now());
}

std::unique_ptr<LifeLock> SqliteEngine::hold() { return locks_.hold(); }

std::unique_ptr<Wakeup> SqliteEngine::watch_holder(const rows::Holder& holder) {
  return locks_.watch(holder);
}

std::unique_ptr<Wakeup> SqliteEngine::watch_commits() {
  // Who only looks makes no file where there is no database.
  return signal_.watch(exists());
}

std::optional<AdoptionReport> SqliteEngine::adoption() const {
  const std::lock_guard lock(mutex_);
  return adoption_;
}

// ---- Transactions

/// What a transaction of several writes came to.
struct SqliteEngine::Outcome {
  bool done = true;  ///< Else it was undone as a whole, and each write is to be tried by itself.
  bool changed = false;
  Sync sync = Sync::as_configured;
};

/// The lead of the threads that want to write.
class SqliteEngine::Lead {
 public:
  Lead(WriteQueue& queue, Turn& turn) : queue_(queue), turn_(turn) {}
  ~Lead() {
    if (leads_) queue_.pass_on();
  }
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;

  /// Gives the turn to other processes, or stops waiting for it. Holding a pass.
  void leave_turn() noexcept {
    if (leads_) turn_.leave();
  }
  /// And the lead to another thread.
  void end() noexcept {
    leave_turn();
    if (std::exchange(leads_, false)) queue_.pass_on();
  }

 private:
  WriteQueue& queue_;
  Turn& turn_;
  bool leads_ = true;
};

void SqliteEngine::write(std::optional<Timestamp> now, const WriteWork& work, Company company,
                         Reach) {
  const Deadline until = deadline();
  QueuedWrite own(now, &work, company);
  if (queue_.enter(own, until)) {
    queue_.gather();
    with_turn(until, [&](Lead& lead) { commit_together(own, lead); });
  }
  if (own.error) std::rethrow_exception(own.error);
}

void SqliteEngine::with_turn(Deadline until, const std::function<void(Lead&)>& attempt) {
  Lead lead(queue_, turn_);
  for (int locked = 0;;) {
    bool taken = false;
    Turn::Pause pause;
    {
      const system::ForkGate::Pass pass;
      struct Leave {
        Lead& lead;
        bool go_on_waiting = false;
        ~Leave() {
          if (!go_on_waiting) lead.leave_turn();
        }
      } leave{lead};
      if (!turn_.is_open()) {
        if (!find_database(options_.database)) create_directories_for(options_.database);
        require_usable(options_.database);
      }
      taken = turn_.try_take();
      if (taken) {
        try {
          return attempt(lead);
        } catch (const DatabaseLocked&) {
        } catch (const SQLite::Exception& error) {
          try {
            throw_typed(error, options_.database);
          } catch (const DatabaseLocked&) {
          }
        }
      }
      throw_if_past(until, options_);
      leave.go_on_waiting = !taken;
      pause = turn_.pause();
    }
    if (taken) {
      wait_for_lock(until, locked++);
    } else {
      pause.sleep(until - std::chrono::steady_clock::now());
    }
  }
}

void SqliteEngine::commit_together(const QueuedWrite& own, Lead& lead) {
  close_after_failed_sync();
  Loan session(*this, idle_writers_, Missing::create, own.now);
  const FileIdentity file = session->file;
  const auto state = share_state(file);
  WalSync wal_sync(*state);
  if (const auto failures = wal_sync.failures(); failures != 0) {
    mend(*session);
    wal_sync.mended(failures);
  }

  WriteQueue::Batch batch;
  Outcome outcome;
  do {
    batch = queue_.take();
    try {
      outcome = commit(session, wal_sync, batch, Savepoints::none);
      if (!outcome.done) outcome = commit(session, wal_sync, batch, Savepoints::each);
    } catch (...) {
      queue_.put_back(batch);
      throw;
    }
    if (!outcome.done) queue_.put_back_alone(batch);
  } while (!outcome.done);

  // What changed nothing may tell what others have just changed.
  const auto ticket = outcome.changed ? wal_sync.number_commit() : wal_sync.last_commit();
  const bool must_sync =
      options_.durability == Durability::full || (outcome.changed && outcome.sync == Sync::always);
  bool move_wal = outcome.changed && Checkpointer(*state, session->connection).after_commit();
  lead.leave_turn();

  // Nothing may be thrown from here on, since other threads' writes are among those done. This one
  // goes on leading until they are on disk: those who come meanwhile are then done together.
  if (must_sync) {
    try {
      wal_sync.wait(ticket, [&] { session->connection.sync_wal(options_.database); });
    } catch (...) {
      session.broken();
      move_wal = false;  // nor may a checkpoint take for good what was lost
      fail(batch, std::current_exception());
    }
  }
  // Who looks and changes nothing must not wake those who look.
  if (outcome.changed) signal_.raise();
  if (move_wal) {
    // The connection goes with it, to be had again by the next who leads.
    lead.end();
    WriteQueue::finish(batch, own);
    Checkpointer(*state, session->connection).move();
  } else {
    session.give_back();
    lead.end();
    WriteQueue::finish(batch, own);
  }
}

SqliteEngine::Outcome SqliteEngine::commit(Loan& session, WalSync& wal_sync,
                                           const WriteQueue::Batch& batch, Savepoints savepoints) {
  const bool several = batch.size() > 1;
  const bool each = several && savepoints == Savepoints::each;
  Connection& connection = session->connection;
  Outcome outcome;
  for (QueuedWrite* const write : batch) write->error = nullptr;
  try {
    Connection::Transaction transaction(connection, Connection::Transaction::Kind::writing);
    require_present_schema(session);
    if (wal_sync.failures() != 0) throw DatabaseLocked{};  // since it was looked at; to be mended
    const auto before = connection.database().getTotalChanges();
    for (QueuedWrite* const write : batch) {
      try {
        if (each) connection.run("SAVEPOINT one_write");
        SqliteTables tables(connection);
        WriteSession view{tables, session->log, locks_, write->now.value_or(now())};
        const Sync sync = (*write->work)(view);
        if (each) connection.run("RELEASE one_write");
        if (sync == Sync::always) outcome.sync = sync;
      } catch (...) {
        write->error = typed_error(session);
        outcome.done = !several || (each && transaction.is_open());
        if (!several || !outcome.done) return outcome;
        connection.run("ROLLBACK TO one_write");
        connection.run("RELEASE one_write");
      }
    }
    outcome.changed = connection.database().getTotalChanges() != before;
    try {
      if (outcome.changed) wal_sync.begin_commit();
      transaction.commit();
    } catch (...) {
      if (is_failed_sync(connection)) wal_sync.failed();
      const auto error = typed_error(session, true);
      fail(batch, error);
      outcome.changed = false;
    }
  } catch (const SQLite::Exception& error) {
    if (error.getErrorCode() != SQLITE_BUSY) session.broken();
    throw;
  }
  return outcome;
}

std::exception_ptr SqliteEngine::typed_error(Loan& session, bool committing) const {
  try {
    try {
      throw;
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_BUSY) session.broken();
      throw_typed(error, options_.database, committing);
    }
  } catch (const DatabaseLocked&) {
    throw;
  } catch (const StorageFailure&) {
    session.broken();
    return std::current_exception();
  } catch (...) {
    return std::current_exception();
  }
}

void SqliteEngine::require_present_schema(Loan& session) {
  if (session->connection.integer("PRAGMA user_version") == newest_schema()) return;
  session.broken();  // a newer dbcache has migrated it meanwhile: opening it tells
  throw DatabaseLocked{};
}

std::shared_ptr<SharedState> SqliteEngine::share_state(const FileIdentity& file) {
  const std::lock_guard lock(mutex_);
  if (!state_ || state_->database() != file) {
    state_ = SharedState::open(options_.database, file);
    turn_.wake_by(state_);
  }
  return state_;
}

void SqliteEngine::close_after_failed_sync() {
  const std::lock_guard lock(mutex_);
  if (!state_ || WalSync(*state_).failures() == 0) return;
  for (auto* idle : {&idle_writers_, &idle_readers_}) {
    for (const SessionPointer& session : *idle) session->connection.leave_wal_on_close();
    idle->clear();
  }
}

void SqliteEngine::mend(Session& session) {
  // What the WAL has is written once more, into the database, and synced there.
  if (!session.connection.empty_wal()) throw DatabaseLocked{};
  if (!session.connection.is_whole()) {
    throw CorruptDatabase(fmt::format(
        "the database {} is damaged: what was written before a sync of its WAL failed is not all "
        "there; check the disk, and restore the database as the README says",
        options_.database));
  }
}

bool SqliteEngine::read(std::optional<Timestamp> now, const ReadWork& work, Patience) {
  const Deadline until = deadline();
  for (int locked = 0;; ++locked) {
    if (const auto done = try_read(now, work)) return *done;
    wait_for_lock(until, locked);
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
  Loan session(*this, idle_readers_, Missing::leave, now);
  if (!session) return false;
  session.with([&] {
    Connection::Transaction transaction(session->connection,
                                        Connection::Transaction::Kind::reading);
    require_present_schema(session);
    const SqliteTables tables(session->connection);
    work({tables, session->log, locks_, now.value_or(this->now())});
    transaction.commit();
  });
  return true;
}

SqliteEngine::Deadline SqliteEngine::deadline() const {
  // A longer wait than the clock can tell is for ever.
  constexpr milliseconds longest = std::chrono::years{100};
  return std::chrono::steady_clock::now() + std::min(options_.busy_timeout, longest);
}

void SqliteEngine::wait_for_lock(Deadline until, int attempt) const {
  throw_if_past(until, options_);
  const milliseconds most =
      std::min(most_lock_pause, first_lock_pause * (1 << std::min(attempt, 6)));
  std::this_thread::sleep_for(random_between(most / 2, most));
}

// ---- Connections

SqliteEngine::SessionPointer SqliteEngine::take(std::vector<SessionPointer>& idle, Missing missing,
                                                std::optional<Timestamp> now) {
  const auto file = find_database(options_.database);
  SessionPointer session;
  {
    const std::lock_guard lock(mutex_);
    if (opened_ && opened_->database != file) {
      forget_replaced(file);
      if (&idle == &idle_writers_) turn_.close();  // others may take theirs on another file by now
    }
    if (!idle.empty()) {
      session = std::move(idle.back());
      idle.pop_back();
    }
  }
  if (session) {
    if (session->file != file) {
      session->connection.leave_wal_on_close();
    } else {
      return session;
    }
    session.reset();
  }
  if (!file && missing == Missing::leave) return nullptr;
  return open(missing, now);
}

void SqliteEngine::forget_replaced(const std::optional<FileIdentity>& file) {
  // SQLite would take a WAL that was left there for the new file's, and write the old one's pages
  // into it (https://www.sqlite.org/howtocorrupt.html, 1.4).
  const auto wal = find_wal(options_.database);
  if (file && wal && !wal->empty && opened_->wal == wal->file) {
    throw StorageFailure(fmt::format(
        "another file was put in the place of the database {0}, beside the WAL of the one before; "
        "put that one back, or remove {0}-wal and {0}-shm to go on with the new one",
        options_.database));
  }
  for (auto* idle : {&idle_writers_, &idle_readers_}) {
    for (const SessionPointer& session : *idle) session->connection.leave_wal_on_close();
    idle->clear();
  }
  opened_.reset();
  state_.reset();
}

SqliteEngine::SessionPointer SqliteEngine::open(Missing missing, std::optional<Timestamp> now) {
  if (missing == Missing::create) create_directories_for(options_.database);
  require_usable(options_.database);
  auto session = std::make_unique<Session>(options_.database, missing == Missing::create
                                                                  ? Connection::Mode::create
                                                                  : Connection::Mode::existing);
  Connection& connection = session->connection;
  const auto wal = find_wal(options_.database);
  const bool has_wal = wal && !wal->empty;
  Content content{};
  try {
    content = look_into(connection, options_.database);
  } catch (...) {
    // What is refused stays as it is: closing would move its WAL into it.
    if (has_wal) connection.leave_wal_on_close();
    throw;
  }
  if (content == Content::nothing && missing == Missing::leave) return nullptr;

  auto mode = connection.prepare("PRAGMA journal_mode = WAL");
  mode->step();
  if (mode->bytes(0) != "wal") {
    throw StorageFailure(fmt::format(
        "the database {} cannot be switched to a write-ahead log; put it on a local disk",
        options_.database));
  }
  mode->reset();
  if (content != Content::ours) {
    connection.execute("PRAGMA synchronous = FULL");
    // Rows that are rewritten while they are adopted may hold secrets: none may stay in free pages.
    connection.execute("PRAGMA secure_delete = ON");
    if (auto report = migrate(connection, now.value_or(this->now()), options_.adopt, locks_)) {
      forget_deleted_rows(connection, *report);
      const std::lock_guard lock(mutex_);
      adoption_ = std::move(report);
    }
  }
  // Checkpoints and a WAL that is begun anew are synced; commits are by WalSync.
  connection.execute("PRAGMA synchronous = NORMAL");
  align_side_files(options_.database);
  const auto file = find_database(options_.database);
  if (!file || connection.has_moved()) throw DatabaseLocked{};  // this very moment: begin again
  session->file = *file;
  const std::lock_guard lock(mutex_);
  session->serial = ++sessions_;
  // An empty WAL too: it will not stay so.
  const auto wal_now = find_wal(options_.database);
  opened_ = Opened{*file, wal_now ? std::optional(wal_now->file) : std::nullopt};
  return session;
}

void SqliteEngine::give_back(std::vector<SessionPointer>& idle, SessionPointer session) {
  const std::lock_guard lock(mutex_);
  if (idle.size() < most_idle_sessions) idle.push_back(std::move(session));
}

// ---- Around a fork

void SqliteEngine::before_fork(Users users) {
  queue_.lock_for_fork();
  mutex_.lock();
  if (users == Users::some) return;
  for (auto* idle : {&idle_writers_, &idle_readers_}) {
    for (const SessionPointer& session : *idle) session->connection.leave_wal_on_close();
    idle->clear();
  }
  close_side_files();
}

void SqliteEngine::close_side_files() noexcept {
  turn_.close();
  signal_.close();
  if (state_) state_->close_file();
  state_.reset();
}

void SqliteEngine::after_fork_in_parent() {
  mutex_.unlock();
  queue_.unlock_in_parent();
}

void SqliteEngine::after_fork_in_child() {
  // The parent's locks, if it holds any, must not outlive it in here.
  turn_.close_in_child();
  close_side_files();
  mutex_.unlock();
  queue_.reset_in_child();
}

// ---- The database as a whole

void SqliteEngine::optimize(Vacuum vacuum) {
  if (!exists()) return;
  // Two steps: while others read, the WAL is tried again, and not the whole file written again.
  with_writer([&](Connection& connection) {
    if (vacuum == Vacuum::yes) connection.vacuum();
    connection.execute("PRAGMA analysis_limit = 1000; ANALYZE");
  });
  with_writer([&](Connection& connection) {
    if (!connection.empty_wal()) throw DatabaseLocked{};
  });
}

void SqliteEngine::with_writer(const std::function<void(Connection&)>& work) {
  const Deadline until = deadline();
  QueuedWrite own(std::nullopt, nullptr);
  static_cast<void>(queue_.enter(own, until));  // nobody else does it
  with_turn(until, [&](Lead&) {
    Loan session(*this, idle_writers_, Missing::leave, std::nullopt);
    if (!session) return;
    try {
      session.with([&] { work(session->connection); });
    } catch (const SQLite::Exception&) {
      if (is_failed_sync(session->connection)) WalSync(*share_state(session->file)).failed();
      throw;
    }
  });
}

DatabaseLocation SqliteEngine::location() const {
  return {options_.database, options_.database, ""};
}

DatabaseInfo SqliteEngine::info() {
  DatabaseInfo info;
  info.path = info.name = options_.database;
  static_cast<void>(find_database(options_.database));  // says what is wrong with a path
  info.database_size = size_of(options_.database, info.exists);
  info.wal_size = size_of(options_.database + "-wal", info.wal_exists);
  info.shm_size = size_of(options_.database + "-shm", info.shm_exists);
  return info;
}

std::int64_t SqliteEngine::schema_version() const { return newest_schema(); }

}  // namespace dbcache::store::sqlite
