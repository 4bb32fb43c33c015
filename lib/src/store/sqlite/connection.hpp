#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <SQLiteCpp/SQLiteCpp.h>

#include <dbcache/options.hpp>

namespace dbcache::store::sqlite {

/// Someone else holds the lock that is needed: to be tried again until the busy timeout.
struct DatabaseLocked {};

/// The typed error for what SQLite says, or DatabaseLocked. `committing`: whether it is not known
/// that nothing was changed.
[[noreturn]] void throw_typed(const SQLite::Exception& error, const std::string& path,
                              bool committing = false);

/// One connection, with its prepared statements. Used by one thread at a time.
class Connection {
 public:
  enum class Mode { existing, create };

  Connection(const std::string& path, Mode mode);

  /// A prepared statement in use; given back, reset, at the end of its life.
  class Query {
   public:
    explicit Query(SQLite::Statement& statement) : statement_(statement) {}
    ~Query() {
      statement_.tryReset();
      statement_.clearBindings();
    }
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    SQLite::Statement* operator->() { return &statement_; }
    SQLite::Statement& operator*() { return statement_; }

   private:
    SQLite::Statement& statement_;
  };

  /// `sql` is a literal: the statement is kept under it.
  Query prepare(const char* sql);

  void execute(const char* sql) { database_.exec(sql); }
  /// The first column of the first row.
  [[nodiscard]] std::int64_t integer(const char* sql);
  SQLite::Database& database() { return database_; }

  /// Forces the WAL to disk (xSync of the WAL file: https://www.sqlite.org/c3ref/io_methods.html).
  /// Throws StorageFailure, outcome unknown, where it fails.
  void sync_wal(const std::string& path);

  /// Moves the whole WAL into the database and truncates it. False where others stand in the way.
  [[nodiscard]] bool empty_wal();

  /// Whether the path no longer leads to the file that is open here.
  [[nodiscard]] bool has_moved();

  /// Makes closing leave the WAL alone: cheap, and the only safe way where the path may lead to
  /// another file by now, whose WAL this connection would delete.
  void leave_wal_on_close();

 private:
  SQLite::Database database_;
  std::map<std::string_view, SQLite::Statement> statements_;
};

}  // namespace dbcache::store::sqlite
