#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <sqlite3.h>
#include <string>
#include <string_view>
#include <unordered_map>

#include <SQLiteCpp/SQLiteCpp.h>

#include <dbcache/options.hpp>

namespace dbcache::store::sqlite {

/// Another holds a lock that is needed. Callers try again until the busy timeout.
struct DatabaseLocked {};

/// Throws SQLite's error as a typed one, or DatabaseLocked. `committing`: the change may have been
/// made all the same.
[[noreturn]] void throw_typed(const SQLite::Exception& error, const std::string& path,
                              bool committing = false);

/// A prepared statement. SQLiteCpp's own class counts references at every access of a column, which
/// costs as much as a short statement itself.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters are counted from 1.
  void bind(int at, std::int64_t number);
  void bind(int at, std::string_view text);
  void bind(int at, std::nullopt_t);
  template <class T>
  void bind(int at, const std::optional<T>& value) {
    value ? bind(at, *value) : bind(at, std::nullopt);
  }
  /// Not copied: it must live until the statement is given back.
  void lend(int at, std::string_view text);
  void lend_blob(int at, std::string_view bytes);

  /// Whether there is a row, or another one.
  bool step();

  // Columns of the present row are counted from 0; what a view shows lasts until the next step.
  [[nodiscard]] int columns() const { return sqlite3_column_count(statement_); }
  [[nodiscard]] std::string name(int at) const { return sqlite3_column_name(statement_, at); }
  /// SQLITE_INTEGER, SQLITE_TEXT, ...
  [[nodiscard]] int type(int at) const { return sqlite3_column_type(statement_, at); }
  [[nodiscard]] std::int64_t integer(int at) const { return sqlite3_column_int64(statement_, at); }
  [[nodiscard]] double real(int at) const { return sqlite3_column_double(statement_, at); }
  /// Of text or a blob.
  [[nodiscard]] std::string_view bytes(int at) const;

  void reset() noexcept;

 private:
  void require(int result) const;

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

/// One connection, with its prepared statements. One thread uses it at a time. It checkpoints
/// nothing by itself, except when the last connection to the database is closed.
class Connection {
 public:
  enum class Mode { existing, create };

  Connection(const std::string& path, Mode mode);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// A prepared statement in use; given back, reset, at the end of its life.
  class Query {
   public:
    explicit Query(Statement& statement) : statement_(statement) {}
    ~Query() { statement_.reset(); }
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    Statement* operator->() { return &statement_; }
    Statement& operator*() { return statement_; }

   private:
    Statement& statement_;
  };

  /// `sql` is a literal, or lasts as long as one: the statement is kept under its address.
  Query prepare(const char* sql);

  /// Rolled back at the end of its life unless committed.
  class Transaction {
   public:
    enum class Kind { reading, writing };
    Transaction(Connection& connection, Kind kind);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    void commit();
    /// False once SQLite rolled it back by itself, as it does where the disk is full, say.
    [[nodiscard]] bool is_open() const;

   private:
    Connection& connection_;
  };

  void execute(const char* sql) { database_.exec(sql); }
  /// The same for what is executed often.
  void run(const char* sql) { prepare(sql)->step(); }
  /// The first column of the first row.
  [[nodiscard]] std::int64_t integer(const char* sql);

  /// The header of the WAL-index. SQLite itself looks there for new commits: it counts them, and
  /// has the WAL's length, salts and checksum (https://www.sqlite.org/walformat.html, 2.1). Read
  /// without a lock, as SQLite does. Nothing before the first transaction, or while another writes
  /// it.
  using WalIndexHeader = std::array<std::uint32_t, 12>;
  [[nodiscard]] std::optional<WalIndexHeader> wal_index_header();

  SQLite::Database& database() { return database_; }

  /// Whether a result of SQLite's says that a sync failed.
  static bool is_failed_sync(int result) {
    return result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC;
  }

  /// Forces the WAL to disk (xSync of the WAL file: https://www.sqlite.org/c3ref/io_methods.html).
  /// Throws StorageFailure, outcome unknown, where it fails.
  void sync_wal(const std::string& path);

  /// How many frames the WAL has after the last commit that was made through this connection.
  [[nodiscard]] std::uint32_t wal_frames() const { return wal_frames_; }

  /// Moves as much of the WAL into the database as readers and writers allow. Returns SQLite's
  /// result, and how many of the WAL's frames are in the database by now.
  int move_wal(int* moved = nullptr) { return checkpoint(SQLITE_CHECKPOINT_PASSIVE, moved); }
  /// Moves all of it, so that the next writer begins the WAL anew. Waits up to `patience` for
  /// readers.
  int restart_wal(std::chrono::milliseconds patience);

  /// Moves the whole WAL into the database and truncates it. False where other users prevent that.
  [[nodiscard]] bool empty_wal();

  /// Writes the whole file anew, by way of a temporary one.
  void vacuum() { execute("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY"); }

  /// Whether SQLite finds no damage in the database's structure. Reads all of it.
  [[nodiscard]] bool is_whole();

  /// Whether the path no longer leads to the file that is open here.
  [[nodiscard]] bool has_moved();

  /// Makes closing leave the WAL alone. That is cheap, and the only safe way where the path may
  /// lead to another file by now: closing would delete that file's WAL.
  void leave_wal_on_close();

 private:
  int checkpoint(int mode, int* moved = nullptr);
  /// A file of this connection, or null. SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER.
  sqlite3_file* file_of(int control);
  /// The WAL's file, or null before the first transaction.
  sqlite3_file* open_wal();

  SQLite::Database database_;
  std::unordered_map<const char*, Statement> statements_;
  std::uint32_t wal_frames_ = 0;
  const volatile std::uint32_t* wal_index_ = nullptr;  ///< SQLite's mapping, of this connection.
};

}  // namespace dbcache::store::sqlite
