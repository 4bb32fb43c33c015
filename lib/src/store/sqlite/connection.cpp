#include "store/sqlite/connection.hpp"

#include <new>
#include <sqlite3.h>
#include <thread>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/wal_vfs.hpp"

namespace dbcache::store::sqlite {

void throw_typed(const SQLite::Exception& error, const std::string& path, bool committing) {
  const auto outcome =
      committing ? StorageFailure::Outcome::unknown : StorageFailure::Outcome::not_committed;
  // The primary code is the low byte (https://www.sqlite.org/rescode.html).
  switch (error.getErrorCode() & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      throw DatabaseLocked{};
    case SQLITE_NOMEM:
      throw std::bad_alloc();
    case SQLITE_FULL:
      throw StorageFailure(
          fmt::format("there is no space left for the database {}, and nothing was changed; free "
                      "some space and try again",
                      path));
    case SQLITE_IOERR:
      throw StorageFailure(
          fmt::format("reading or writing the database {} failed: {}; check the disk{}", path,
                      sqlite3_errstr(error.getExtendedErrorCode()),
                      committing ? ". Whether the change was made is not known" : ""),
          outcome);
    case SQLITE_CORRUPT:
      throw CorruptDatabase(
          fmt::format("the database {} is damaged ({}), or a WAL of another lies beside it; "
                      "restore it as docs/operations.md says",
                      path, error.what()));
    case SQLITE_NOTADB:
      throw CorruptDatabase(fmt::format(
          "{} is not a SQLite database, or is damaged; give another path, or restore it", path));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      throw StorageFailure(fmt::format(
          "the database {} cannot be opened for writing ({}); check its permissions and "
          "those of its directory",
          path, error.what()));
    case SQLITE_TOOBIG:
      throw InvalidArgument("a text or blob exceeds SQLite's limit of 1 GB; give a shorter one");
    case SQLITE_CONSTRAINT:
      throw CorruptDatabase(
          fmt::format("the database {} holds rows that dbcache did not write ({}); `dbcache replay "
                      "--check` shows them, `dbcache replay` rebuilds the tables from the log",
                      path, error.what()));
    default:
      throw CorruptDatabase(
          fmt::format("the database {} is not as dbcache made it: {}; restore it from a copy", path,
                      error.what()));
  }
}

Statement::Statement(sqlite3* database, const char* sql) : database_(database) {
  require(sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr));
}

void Statement::bind(int at, std::int64_t number) {
  require(sqlite3_bind_int64(statement_, at, number));
}
void Statement::bind(int at, std::string_view text) {
  require(
      sqlite3_bind_text64(statement_, at, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
void Statement::bind(int at, std::nullopt_t) { require(sqlite3_bind_null(statement_, at)); }
void Statement::lend(int at, std::string_view text) {
  require(
      sqlite3_bind_text64(statement_, at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8));
}
void Statement::lend_blob(int at, std::string_view bytes) {
  require(sqlite3_bind_blob64(statement_, at, bytes.data(), bytes.size(), SQLITE_STATIC));
}

bool Statement::step() {
  const int result = sqlite3_step(statement_);
  if (result != SQLITE_ROW && result != SQLITE_DONE) require(result);
  return result == SQLITE_ROW;
}

std::string_view Statement::bytes(int at) const {
  // A blob first: asking for text would change what a blob is
  // (https://www.sqlite.org/c3ref/column_blob.html).
  const void* const bytes = sqlite3_column_blob(statement_, at);
  return {static_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_, at))};
}

void Statement::reset() noexcept {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Statement::require(int result) const {
  if (result != SQLITE_OK) throw SQLite::Exception(database_, result);
}

Connection::Connection(const std::string& path, Mode mode)
    : database_(path,
                SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX |
                    (mode == Mode::create ? SQLite::OPEN_CREATE : 0),
                0, wal_vfs()) {
  // Callers wait for locks while they use no connection: a fork then need not wait too.
  database_.setBusyTimeout(0);
  sqlite3_extended_result_codes(database_.getHandle(), 1);
  // As in the documented system: an entry may name a cluster that is not cached.
  database_.exec("PRAGMA foreign_keys = OFF");
  // The append-only triggers make SQLite keep a journal of each INSERT. It allocates and frees 64
  // KiB for it each time; a journal in memory without a limit takes only what it needs
  // (https://www.sqlite.org/c3ref/c_config_covering_index_scan.html, SQLITE_CONFIG_STMTJRNL_SPILL).
  database_.exec("PRAGMA temp_store = MEMORY");
  // A long reader makes the WAL grow. Its file shrinks to this once SQLite begins the WAL anew.
  database_.exec("PRAGMA journal_size_limit = 20971520");
  // This replaces SQLite's own checkpoints, which are such a hook
  // (https://www.sqlite.org/c3ref/wal_hook.html).
  sqlite3_wal_hook(
      database_.getHandle(),
      [](void* self, sqlite3*, const char*, int frames) {
        static_cast<Connection*>(self)->wal_frames_ = static_cast<std::uint32_t>(frames);
        return SQLITE_OK;
      },
      this);
}

Connection::Transaction::Transaction(Connection& connection, Kind kind) : connection_(connection) {
  connection.run(kind == Kind::writing ? "BEGIN IMMEDIATE" : "BEGIN");
}

Connection::Transaction::~Transaction() {
  if (!is_open()) return;
  try {
    connection_.run("ROLLBACK");
  } catch (const std::exception&) {
    // SQLite has rolled it back already, or will when the connection is closed.
  }
}

void Connection::Transaction::commit() { connection_.run("COMMIT"); }

bool Connection::Transaction::is_open() const {
  return sqlite3_get_autocommit(connection_.database_.getHandle()) == 0;
}

Connection::Query Connection::prepare(const char* sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    found = statements_.try_emplace(sql, database_.getHandle(), sql).first;
  }
  return Query(found->second);
}

std::int64_t Connection::integer(const char* sql) {
  Query query = prepare(sql);
  query->step();
  return query->integer(0);
}

void Connection::sync_wal(const std::string& path) {
  sqlite3_file* const wal = open_wal();
  if (wal == nullptr || wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL) != SQLITE_OK) {
    throw StorageFailure(
        fmt::format(
            "the change was made, but the WAL of the database {} could not be synced to "
            "disk: it is not known whether the change would survive a power loss; check the "
            "disk",
            path),
        StorageFailure::Outcome::unknown);
  }
}

sqlite3_file* Connection::open_wal() {
  // Without a WAL it is the journal's, which is closed outside a transaction.
  sqlite3_file* const file = file_of(SQLITE_FCNTL_JOURNAL_POINTER);
  return file != nullptr && file->pMethods != nullptr ? file : nullptr;
}

sqlite3_file* Connection::file_of(int control) {
  sqlite3_file* file = nullptr;
  const int found = sqlite3_file_control(database_.getHandle(), "main", control, &file);
  return found == SQLITE_OK ? file : nullptr;
}

std::optional<Connection::WalIndexHeader> Connection::wal_index_header() {
  if (wal_index_ == nullptr) {
    // SQLite unmaps the index together with its WAL: without one it would stay mapped for ever.
    if (open_wal() == nullptr) return std::nullopt;
    constexpr int region_size = 32768;  // of the WAL-index, the first of which has the header
    sqlite3_file* const file = file_of(SQLITE_FCNTL_FILE_POINTER);
    volatile void* region = nullptr;
    if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2 ||
        file->pMethods->xShmMap(file, 0, region_size, 0, &region) != SQLITE_OK) {
      return std::nullopt;
    }
    wal_index_ = static_cast<const volatile std::uint32_t*>(region);
    if (wal_index_ == nullptr) return std::nullopt;
  }
  // There are two copies, and writers write the second one first: two equal ones are complete.
  WalIndexHeader first;
  WalIndexHeader second;
  const auto load = [this](std::size_t at) {
    return __atomic_load_n(wal_index_ + at, __ATOMIC_ACQUIRE);
  };
  for (std::size_t at = 0; at < first.size(); ++at) first[at] = load(at);
  for (std::size_t at = 0; at < first.size(); ++at) second[at] = load(first.size() + at);
  return first == second ? std::optional(first) : std::nullopt;
}

int Connection::checkpoint(int mode, int* moved) {
  return sqlite3_wal_checkpoint_v2(database_.getHandle(), "main", mode, nullptr, moved);
}

int Connection::restart_wal(std::chrono::milliseconds patience) {
  // SQLite's own busy timeout looks ever less often.
  int looks = static_cast<int>(patience.count());
  sqlite3_busy_handler(
      database_.getHandle(),
      [](void* left, int) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        return --*static_cast<int*>(left) > 0 ? 1 : 0;
      },
      &looks);
  const int result = checkpoint(SQLITE_CHECKPOINT_RESTART);
  database_.setBusyTimeout(0);
  return result;
}

bool Connection::empty_wal() {
  // One row: whether it was blocked, ... (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint)
  return integer("PRAGMA wal_checkpoint(TRUNCATE)") == 0;
}

bool Connection::is_whole() {
  Query query = prepare("PRAGMA quick_check(1)");
  return query->step() && query->bytes(0) == "ok";
}

bool Connection::has_moved() {
  int moved = 0;
  sqlite3_file_control(database_.getHandle(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

void Connection::leave_wal_on_close() {
  sqlite3* const handle = database_.getHandle();
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  int keep = 1;
  sqlite3_file_control(handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
}

}  // namespace dbcache::store::sqlite
