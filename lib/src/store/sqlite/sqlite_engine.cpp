#include "store/sqlite/sqlite_engine.hpp"

#include <algorithm>
#include <filesystem>
#include <random>
#include <sqlite3.h>
#include <thread>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/connection.hpp"
#include "store/sqlite/migrate.hpp"
#include "store/sqlite/sqlite_event_log.hpp"
#include "store/sqlite/sqlite_tables.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t most_idle_readers = 4;

/// The next in turn asks again after this long; everyone alike, so that none is favoured.
constexpr microseconds least_turn_pause{50};
constexpr microseconds most_turn_pause{250};

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

/// Rows that the Python system had deleted may still stand in free pages, with their secrets.
void forget_deleted_rows(Connection& connection, AdoptionReport& report) {
  std::string reason = "others use it";
  try {
    connection.execute("VACUUM");
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

/// A connection with what is read and written through it.
struct SqliteEngine::Session {
  Session(const std::string& path, Connection::Mode mode) : connection(path, mode) {}

  Connection connection;
  SqliteTables tables{connection};
  SqliteEventLog log{connection};
  FileIdentity file;
};

/// A session in use; given back at the end, unless what went wrong may lie in the connection
/// itself.
class SqliteEngine::Loan {
 public:
  Loan(SqliteEngine& engine, std::vector<SessionPointer>& idle, Missing missing,
       std::optional<Timestamp> now)
      : engine_(engine), idle_(idle), session_(engine.take(idle, missing, now)) {}
  ~Loan() {
    if (session_ && !broken_) engine_.give_back(idle_, std::move(session_));
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  explicit operator bool() const { return session_ != nullptr; }
  Session& operator*() const { return *session_; }
  Session* operator->() const { return session_.get(); }

  /// Runs `use`, and keeps the session from being given back where SQLite or the disk fails, but
  /// for locks.
  template <class Use>
  void with(Use use) {
    try {
      use();
    } catch (const SQLite::Exception& error) {
      broken_ = error.getErrorCode() != SQLITE_BUSY;
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
    : options_(std::move(options)), turn_(options_.database) {
  ForkGate::instance().enroll(*this);
}

SqliteEngine::~SqliteEngine() {
  ForkGate& gate = ForkGate::instance();
  if (gate.closed_to_this_process()) {
    // These connections are the parent's: closing them here would touch its files.
    for (auto* idle : {&idle_writers_, &idle_readers_}) {
      for (SessionPointer& session : *idle) static_cast<void>(session.release());
    }
  } else {
    // Closing is a use like any other: no fork may come in the middle of it.
    const ForkGate::Pass pass;
    idle_writers_.clear();
    idle_readers_.clear();
    turn_.close();
  }
  gate.withdraw(*this);
}

bool SqliteEngine::exists() { return find_database(options_.database).has_value(); }

Timestamp SqliteEngine::now() {
  return std::chrono::floor<microseconds>(std::chrono::system_clock::now());
}

std::optional<AdoptionReport> SqliteEngine::adoption() const {
  const std::lock_guard lock(mutex_);
  return adoption_;
}

// ---- Transactions

void SqliteEngine::write(std::optional<Timestamp> now, const WriteWork& work) {
  with_turn([&] { write_once(now, work); });
}

void SqliteEngine::with_turn(const std::function<void()>& attempt) {
  const Deadline until = deadline();
  const WriterQueue::Place place(queue_, until);
  for (int locked = 0;;) {
    bool taken = false;
    {
      const ForkGate::Pass pass;
      struct Leave {
        Turn& turn;
        bool go_on_waiting = false;
        ~Leave() {
          if (!go_on_waiting) turn.leave();
        }
      } leave{turn_};
      if (!turn_.is_open()) {
        if (!find_database(options_.database)) create_directories_for(options_.database);
        require_usable(options_.database);
      }
      taken = turn_.try_take();
      if (taken) {
        try {
          return attempt();
        } catch (const DatabaseLocked&) {
        } catch (const SQLite::Exception& error) {
          try {
            throw_typed(error, options_.database);
          } catch (const DatabaseLocked&) {
          }
        }
      } else {
        throw_if_past(until, options_);
        leave.go_on_waiting = true;
      }
    }
    if (taken) {
      wait_for_lock(until, locked++);
    } else {
      std::this_thread::sleep_for(random_between(least_turn_pause, most_turn_pause));
    }
  }
}

void SqliteEngine::write_once(std::optional<Timestamp> now, const WriteWork& work) {
  Loan session(*this, idle_writers_, Missing::create, now);
  Sync sync = Sync::as_configured;
  bool committing = false;
  try {
    session.with([&] {
      SQLite::Transaction transaction(session->connection.database(),
                                      SQLite::TransactionBehavior::IMMEDIATE);
      WriteSession view{session->tables, session->log, now.value_or(this->now())};
      sync = work(view);
      committing = true;
      transaction.commit();
    });
  } catch (const SQLite::Exception& error) {
    throw_typed(error, options_.database, committing);
  }
  if (sync == Sync::always && options_.durability == Durability::relaxed) {
    session.with([&] { session->connection.sync_wal(options_.database); });
  }
}

bool SqliteEngine::read(std::optional<Timestamp> now, const ReadWork& work) {
  const Deadline until = deadline();
  for (int locked = 0;; ++locked) {
    if (const auto done = try_read(now, work)) return *done;
    wait_for_lock(until, locked);
  }
}

std::optional<bool> SqliteEngine::try_read(std::optional<Timestamp> now, const ReadWork& work) {
  const ForkGate::Pass pass;
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
    SQLite::Transaction transaction(session->connection.database());
    work({session->tables, session->log, now.value_or(this->now())});
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
    } else if (session->connection.integer("PRAGMA user_version") == newest_schema()) {
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
  mode->executeStep();
  if (mode->getColumn(0).getString() != "wal") {
    throw StorageFailure(fmt::format(
        "the database {} cannot be switched to a write-ahead log; put it on a local disk",
        options_.database));
  }
  mode->reset();
  connection.execute(options_.durability == Durability::relaxed ? "PRAGMA synchronous = NORMAL"
                                                                : "PRAGMA synchronous = FULL");
  if (content != Content::ours) {
    // Rows that are rewritten while they are adopted may hold secrets: none may stay in free pages.
    connection.execute("PRAGMA secure_delete = ON");
    if (auto report = migrate(connection, now.value_or(this->now()), options_.adopt)) {
      forget_deleted_rows(connection, *report);
      const std::lock_guard lock(mutex_);
      adoption_ = std::move(report);
    }
  }
  align_side_files(options_.database);
  const auto file = find_database(options_.database);
  if (!file || connection.has_moved()) throw DatabaseLocked{};  // this very moment: begin again
  session->file = *file;
  const std::lock_guard lock(mutex_);
  // An empty WAL too: it will not stay so.
  const auto wal_now = find_wal(options_.database);
  opened_ = Opened{*file, wal_now ? std::optional(wal_now->file) : std::nullopt};
  return session;
}

void SqliteEngine::give_back(std::vector<SessionPointer>& idle, SessionPointer session) {
  const std::lock_guard lock(mutex_);
  if (idle.size() < most_idle_readers) idle.push_back(std::move(session));
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
  turn_.close();
}

void SqliteEngine::after_fork_in_parent() {
  mutex_.unlock();
  queue_.unlock_in_parent();
}

void SqliteEngine::after_fork_in_child() {
  turn_.close();  // the parent's lock, if it holds one, must not outlive it in here
  mutex_.unlock();
  queue_.reset_in_child();
}

// ---- The database as a whole

void SqliteEngine::optimize(Vacuum vacuum) {
  if (!exists()) return;
  // Two steps: while others read, the WAL is tried again, and not the whole file written again.
  with_writer([&](Connection& connection) {
    if (vacuum == Vacuum::yes) connection.execute("VACUUM");
    connection.execute("PRAGMA analysis_limit = 1000; ANALYZE");
  });
  with_writer([&](Connection& connection) {
    if (!connection.empty_wal()) throw DatabaseLocked{};
  });
}

void SqliteEngine::with_writer(const std::function<void(Connection&)>& work) {
  with_turn([&] {
    Loan session(*this, idle_writers_, Missing::leave, std::nullopt);
    if (session) session.with([&] { work(session->connection); });
  });
}

DatabaseInfo SqliteEngine::info() {
  DatabaseInfo info;
  info.path = options_.database;
  static_cast<void>(find_database(options_.database));  // says what is wrong with a path
  info.database_size = size_of(options_.database, info.exists);
  info.wal_size = size_of(options_.database + "-wal", info.wal_exists);
  info.shm_size = size_of(options_.database + "-shm", info.shm_exists);
  return info;
}

std::int64_t SqliteEngine::schema_version() const { return newest_schema(); }

}  // namespace dbcache::store::sqlite
