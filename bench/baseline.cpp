#include "bench/baseline.hpp"

#include <array>
#include <chrono>
#include <sqlite3.h>
#include <stdexcept>

namespace dbcache::bench {
namespace {

/// The tables of migrations/sqlite, without triggers.
constexpr const char* tables = R"(
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster_id TEXT UNIQUE NOT NULL,
    cluster_name TEXT,
    host TEXT,
    num_workers INTEGER,
    status TEXT DEFAULT 'RUNNING',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expiry_time TIMESTAMP NOT NULL,
    last_accessed TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    access_count INTEGER DEFAULT 1,
    is_active BOOLEAN DEFAULT 1,
    is_shared BOOLEAN DEFAULT 0
);
CREATE TABLE shared_cluster_registry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    config_hash TEXT UNIQUE NOT NULL,
    cluster_id TEXT,
    status TEXT DEFAULT 'creating',
    worker_pid INTEGER,
    creation_time TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    usage_count INTEGER DEFAULT 0,
    error_message TEXT,
    FOREIGN KEY (cluster_id) REFERENCES clusters(cluster_id)
);
CREATE INDEX idx_cluster_id ON clusters(cluster_id);
CREATE INDEX idx_expiry_time ON clusters(expiry_time);
CREATE INDEX idx_is_active ON clusters(is_active);
CREATE INDEX idx_config_hash ON shared_cluster_registry(config_hash);
CREATE INDEX idx_registry_status ON shared_cluster_registry(status);
CREATE INDEX idx_registry_usage_count ON shared_cluster_registry(usage_count);
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    command_id BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (stream, version)
) STRICT;
CREATE INDEX idx_events_naming_cluster ON events(json_extract(payload, '$.cluster_id'), stream)
WHERE type IN ('RegistryStatusChanged', 'EntryImported', 'LeaseGranted');
)";

[[noreturn]] void fail(sqlite3* database) {
  throw std::runtime_error(std::string("the baseline failed: ") + sqlite3_errmsg(database));
}

sqlite3* open(const std::string& path, int flags) {
  sqlite3* database = nullptr;
  if (sqlite3_open_v2(path.c_str(), &database, flags | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
    const std::string message = sqlite3_errmsg(database);
    sqlite3_close_v2(database);
    throw std::runtime_error("the baseline cannot open " + path + ": " + message);
  }
  sqlite3_busy_timeout(database, 30'000);
  return database;
}

void execute(sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(database);
}

/// Closes what a block opened.
struct Closer {
  sqlite3* database;
  ~Closer() { sqlite3_close_v2(database); }
};

constexpr std::array<char, 16> command_id{};
constexpr std::array<char, 32> no_hash{};

}  // namespace

class Baseline::Statement {
 public:
  Statement(sqlite3* database, const char* sql) : database_(database) {
    if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) !=
        SQLITE_OK) {
      fail(database);
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(Statement&&) = delete;

  // What is bound lives until the statement is reset: no copies.
  void bind(int at, std::string_view text) {
    sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  }
  void bind(int at, std::int64_t number) { sqlite3_bind_int64(statement_, at, number); }
  template <std::size_t size>
  void bind(int at, const std::array<char, size>& bytes) {
    sqlite3_bind_blob(statement_, at, bytes.data(), static_cast<int>(size), SQLITE_STATIC);
  }

  /// Whether there is a row.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result == SQLITE_ROW) return true;
    if (result == SQLITE_DONE) return false;
    sqlite3_reset(statement_);
    fail(database_);
  }
  void reset() { sqlite3_reset(statement_); }
  void run() {
    step();
    reset();
  }

  [[nodiscard]] std::int64_t integer(int at) const { return sqlite3_column_int64(statement_, at); }
  [[nodiscard]] std::string_view text(int at) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, at));
    return {data == nullptr ? "" : data,
            static_cast<std::size_t>(sqlite3_column_bytes(statement_, at))};
  }
  [[nodiscard]] std::string_view blob(int at) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, at));
    return {data == nullptr ? "" : data,
            static_cast<std::size_t>(sqlite3_column_bytes(statement_, at))};
  }

  /// Takes every column of the row, numbers as numbers and the rest as text.
  std::int64_t take_columns(std::initializer_list<int> numbers, std::initializer_list<int> texts) {
    std::int64_t size = 0;
    for (const int at : numbers) size += integer(at);
    for (const int at : texts) size += static_cast<std::int64_t>(text(at).size());
    return size;
  }

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

void Baseline::copy(const std::string& ours, const std::string& to) {
  sqlite3* const database = open(to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const Closer closer{database};
  execute(database, "PRAGMA journal_mode = WAL");
  execute(database, tables);
  {
    Statement attach(database, "ATTACH ?1 AS ours");
    attach.bind(1, ours);
    attach.run();
  }
  execute(database,
          "BEGIN;"
          "INSERT INTO clusters SELECT * FROM ours.clusters;"
          "INSERT INTO shared_cluster_registry SELECT * FROM ours.shared_cluster_registry;"
          "INSERT INTO events SELECT * FROM ours.events;"
          "COMMIT;"
          "DETACH ours");
}

Baseline::Baseline(const std::string& path, Synchronous synchronous)
    : database_(open(path, SQLITE_OPEN_READWRITE)) {
  const auto prepare = [this](const char* sql) {
    return std::make_unique<Statement>(database_, sql);
  };
  execute(database_, "PRAGMA journal_mode = WAL");
  execute(database_, synchronous == Synchronous::full ? "PRAGMA synchronous = FULL"
                                                      : "PRAGMA synchronous = NORMAL");
  begin_ = prepare("BEGIN IMMEDIATE");
  commit_ = prepare("COMMIT");
  roll_back_ = prepare("ROLLBACK");
  entry_ = prepare(
      "SELECT id, config_hash, cluster_id, status, worker_pid, creation_time, usage_count, "
      "error_message FROM shared_cluster_registry WHERE config_hash = ?1");
  version_ = prepare("SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1");
  append_ = prepare(
      "INSERT INTO events (stream, version, type, payload, metadata, recorded_at, command_id, "
      "hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
  count_ = prepare("UPDATE shared_cluster_registry SET usage_count = ?2 WHERE config_hash = ?1");
  active_ = prepare(
      "SELECT id, cluster_id, cluster_name, host, num_workers, status, created_at, expiry_time, "
      "last_accessed, access_count, is_active, is_shared FROM clusters "
      "WHERE is_active = 1 AND expiry_time > ?1 ORDER BY id DESC LIMIT 1");
  Statement sample(database_,
                   "SELECT payload, metadata FROM events WHERE type = 'UsageIncremented' "
                   "ORDER BY position DESC LIMIT 1");
  if (sample.step()) {
    payload_ = sample.text(0);
    metadata_ = sample.text(1);
  }
}

Baseline::~Baseline() {
  for (auto* statement :
       {&begin_, &commit_, &roll_back_, &entry_, &version_, &append_, &count_, &active_}) {
    statement->reset();
  }
  sqlite3_close_v2(database_);
}

void Baseline::increment(const std::string& config_hash) {
  const std::string stream = "registry-" + config_hash;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  begin_->run();
  try {
    entry_->bind(1, config_hash);
    if (!entry_->step()) throw std::runtime_error("the baseline has no entry " + config_hash);
    const std::int64_t count = entry_->integer(6) + 1;
    entry_->reset();

    version_->bind(1, stream);
    const std::int64_t version = version_->step() ? version_->integer(0) + 1 : 1;
    version_->reset();

    append_->bind(1, stream);
    append_->bind(2, version);
    append_->bind(3, std::string_view("UsageIncremented"));
    append_->bind(4, payload_);
    append_->bind(5, metadata_);
    append_->bind(6, now.count());
    append_->bind(7, command_id);
    append_->bind(8, no_hash);
    append_->run();

    count_->bind(1, config_hash);
    count_->bind(2, count);
    count_->run();
    commit_->run();
  } catch (...) {
    if (sqlite3_get_autocommit(database_) == 0) roll_back_->run();
    throw;
  }
}

std::int64_t Baseline::read_active_cluster(std::string_view now) {
  active_->bind(1, now);
  const std::int64_t size =
      active_->step() ? active_->take_columns({0, 4, 9, 10, 11}, {1, 2, 3, 5, 6, 7, 8}) : 0;
  active_->reset();
  return size;
}

std::int64_t Baseline::read_entry(std::string_view config_hash) {
  entry_->bind(1, config_hash);
  const std::int64_t size = entry_->step() ? entry_->take_columns({0, 4, 6}, {1, 2, 3, 5, 7}) : 0;
  entry_->reset();
  return size;
}

Scan scan_log(const std::string& path) {
  sqlite3* const database = open(path, SQLITE_OPEN_READWRITE);
  const Closer closer{database};
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(
          database,
          "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, "
          "hash FROM events ORDER BY position",
          -1, &statement, nullptr) != SQLITE_OK) {
    fail(database);
  }
  Scan scan;
  int result = SQLITE_OK;
  std::int64_t touched = 0;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    ++scan.events;
    scan.bytes += 3 * static_cast<std::int64_t>(sizeof(std::int64_t));
    for (const int at : {0, 2, 6}) touched ^= sqlite3_column_int64(statement, at);
    for (const int at : {1, 3, 4, 5, 7, 8}) {
      const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, at));
      const int size = sqlite3_column_bytes(statement, at);
      if (size > 0) touched ^= data[size - 1];
      scan.bytes += size;
      if (at == 4 || at == 5) scan.text_bytes += size;
    }
  }
  sqlite3_finalize(statement);
  if (result != SQLITE_DONE) fail(database);
  // The columns were looked at for this.
  volatile std::int64_t seen = touched;
  static_cast<void>(seen);
  return scan;
}

}  // namespace dbcache::bench
