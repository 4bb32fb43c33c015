#include "store/sqlite/connection.hpp"

#include <new>
#include <sqlite3.h>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

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
          fmt::format("there is no space left for the database {}; nothing was changed: free some "
                      "space and try again",
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
                      "restore it as the README says",
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
      throw InvalidArgument("what was given is larger than SQLite takes");
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

Connection::Connection(const std::string& path, Mode mode)
    : database_(path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX |
                          (mode == Mode::create ? SQLite::OPEN_CREATE : 0)) {
  // Locks are waited for above, outside of the connection, so that a fork need not wait too.
  database_.setBusyTimeout(0);
  sqlite3_extended_result_codes(database_.getHandle(), 1);
  // As in the documented system: an entry may name a cluster that is not cached.
  database_.exec("PRAGMA foreign_keys = OFF");
}

Connection::Query Connection::prepare(const char* sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    found = statements_.try_emplace(sql, database_, sql).first;
  }
  return Query(found->second);
}

std::int64_t Connection::integer(const char* sql) {
  Query query = prepare(sql);
  query->executeStep();
  return query->getColumn(0).getInt64();
}

void Connection::sync_wal(const std::string& path) {
  sqlite3_file* file = nullptr;
  sqlite3* const handle = database_.getHandle();
  const int found = sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  if (found != SQLITE_OK || file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) != SQLITE_OK) {
    throw StorageFailure(
        fmt::format("the change was made, but the WAL of the database {} could not be forced to "
                    "disk; whether it would survive a power loss is not known: check the disk",
                    path),
        StorageFailure::Outcome::unknown);
  }
}

bool Connection::empty_wal() {
  // One row: whether it was blocked, ... (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint)
  return integer("PRAGMA wal_checkpoint(TRUNCATE)") == 0;
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
