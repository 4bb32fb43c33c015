#include <array>
#include <sqlite3.h>
#include <stdexcept>
#include <string_view>

#include <dbcache/time.hpp>

#include "bench/big_log.hpp"
#include "bench/raw_leases.hpp"

namespace dbcache::bench {
namespace {

/// Those of migrations/sqlite that a lease's begin and end write to, without triggers.
constexpr const char* raw_sqlite_tables = R"(
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
CREATE TABLE shares (
    config_hash TEXT PRIMARY KEY NOT NULL,
    origin TEXT NOT NULL,
    host TEXT,
    worker TEXT,
    creation INTEGER,
    idempotency_token TEXT,
    created INTEGER NOT NULL,
    "check" INTEGER,
    checker TEXT,
    policy TEXT,
    runs TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    id INTEGER PRIMARY KEY,
    config_hash TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    holder TEXT NOT NULL,
    policy TEXT NOT NULL,
    run TEXT,
    granted_at TEXT NOT NULL,
    created_here INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_leases_config_hash ON leases(config_hash);
CREATE INDEX idx_leases_cluster_id ON leases(cluster_id);
)";

constexpr std::array<char, 16> raw_command_id{};
constexpr std::array<char, 32> raw_hash{};

/// A connection and its statements.
class RawSqlite {
 public:
  RawSqlite(const std::string& path, int flags) {
    if (sqlite3_open_v2(path.c_str(), &database_, flags | SQLITE_OPEN_NOMUTEX, nullptr) !=
        SQLITE_OK) {
      const std::string message = sqlite3_errmsg(database_);
      sqlite3_close_v2(database_);
      throw std::runtime_error("raw cannot open " + path + ": " + message);
    }
    sqlite3_busy_timeout(database_, 30'000);
  }
  ~RawSqlite() { sqlite3_close_v2(database_); }
  RawSqlite(const RawSqlite&) = delete;
  RawSqlite& operator=(const RawSqlite&) = delete;

  void execute(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
  [[nodiscard]] std::int64_t last_id() const { return sqlite3_last_insert_rowid(database_); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(database_) == 0; }
  [[noreturn]] void fail() const {
    throw std::runtime_error(std::string("raw failed: ") + sqlite3_errmsg(database_));
  }
  [[nodiscard]] sqlite3* get() const { return database_; }

 private:
  sqlite3* database_ = nullptr;
};

class RawStatement {
 public:
  RawStatement(const RawSqlite& database, const char* sql) : database_(database) {
    if (sqlite3_prepare_v3(database.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_,
                           nullptr) != SQLITE_OK) {
      database.fail();
    }
  }
  ~RawStatement() { sqlite3_finalize(statement_); }
  RawStatement(const RawStatement&) = delete;
  RawStatement& operator=(const RawStatement&) = delete;

  // What is bound lives until the statement is reset: no copies.
  RawStatement& bind(int at, std::string_view text) {
    sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  RawStatement& bind(int at, std::int64_t number) {
    sqlite3_bind_int64(statement_, at, number);
    return *this;
  }
  template <std::size_t size>
  RawStatement& bind(int at, const std::array<char, size>& bytes) {
    sqlite3_bind_blob(statement_, at, bytes.data(), static_cast<int>(size), SQLITE_STATIC);
    return *this;
  }

  /// Whether there is a row.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result == SQLITE_ROW) return true;
    if (result == SQLITE_DONE) return false;
    // Else the message is that of the reset.
    const std::string message = sqlite3_errmsg(database_.get());
    sqlite3_reset(statement_);
    throw std::runtime_error("raw failed: " + message);
  }
  void reset() { sqlite3_reset(statement_); }
  void run() {
    step();
    reset();
  }

  [[nodiscard]] std::int64_t integer(int at) const { return sqlite3_column_int64(statement_, at); }
  [[nodiscard]] std::string text(int at) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, at));
    return data == nullptr ? "" : data;
  }

 private:
  const RawSqlite& database_;
  sqlite3_stmt* statement_ = nullptr;
};

class RawSqliteLeases final : public RawLeases {
 public:
  RawSqliteLeases(const std::string& path, int entry, LeaseSamples samples)
      : config_hash_(config_hash_of(entry)),
        cluster_id_(cluster_id_of(entry)),
        stream_("registry-" + config_hash_),
        samples_(std::move(samples)),
        database_(path, SQLITE_OPEN_READWRITE) {
    database_.execute("PRAGMA journal_mode = WAL");
    database_.execute("PRAGMA synchronous = FULL");
  }

  void grant() override {
    const Timestamp now = wall_time();
    const std::string granted_at = format_timestamp(now);
    in_transaction([&] {
      const std::int64_t uses = read_uses();
      lease_ = append("LeaseGranted", samples_.grant_payload, samples_.grant_metadata, now);
      begin_lease_.bind(1, lease_)
          .bind(2, config_hash_)
          .bind(3, cluster_id_)
          .bind(4, samples_.holder)
          .bind(5, granted_at)
          .run();
      count_.bind(1, config_hash_).bind(2, uses + 1).run();
      access_.bind(1, cluster_id_).bind(2, granted_at).run();
    });
  }

  void release() override {
    const Timestamp now = wall_time();
    in_transaction([&] {
      const std::int64_t uses = read_uses();
      append("LeaseReleased", samples_.release_payload, samples_.release_metadata, now);
      end_lease_.bind(1, lease_).run();
      count_.bind(1, config_hash_).bind(2, uses - 1).run();
      policy_.bind(1, config_hash_).run();
    });
  }

 private:
  template <class Steps>
  void in_transaction(Steps steps) {
    begin_.run();
    try {
      steps();
      commit_.run();
    } catch (...) {
      if (database_.in_transaction()) roll_back_.run();
      throw;
    }
  }

  std::int64_t read_uses() {
    entry_.bind(1, config_hash_);
    if (!entry_.step()) throw std::runtime_error("raw has no entry " + config_hash_);
    const std::int64_t uses = entry_.integer(6);
    entry_.reset();
    return uses;
  }

  /// The event's position.
  std::int64_t append(std::string_view type, std::string_view payload, std::string_view metadata,
                      Timestamp now) {
    version_.bind(1, stream_);
    const std::int64_t version = version_.step() ? version_.integer(0) + 1 : 1;
    version_.reset();
    append_.bind(1, stream_).bind(2, version).bind(3, type).bind(4, payload).bind(5, metadata);
    append_.bind(6, std::int64_t{now.time_since_epoch().count()});
    append_.bind(7, raw_command_id).bind(8, raw_hash).run();
    return database_.last_id();
  }

  const std::string config_hash_;
  const std::string cluster_id_;
  const std::string stream_;
  const LeaseSamples samples_;
  std::int64_t lease_ = 0;
  RawSqlite database_;
  RawStatement begin_{database_, "BEGIN IMMEDIATE"};
  RawStatement commit_{database_, "COMMIT"};
  RawStatement roll_back_{database_, "ROLLBACK"};
  RawStatement entry_{
      database_,
      "SELECT id, config_hash, cluster_id, status, worker_pid, creation_time, usage_count, "
      "error_message FROM shared_cluster_registry WHERE config_hash = ?1"};
  RawStatement version_{
      database_, "SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1"};
  RawStatement append_{
      database_,
      "INSERT INTO events (stream, version, type, payload, metadata, recorded_at, command_id, "
      "hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
  RawStatement begin_lease_{
      database_,
      "INSERT INTO leases (id, config_hash, cluster_id, holder, policy, granted_at, created_here) "
      "VALUES (?1, ?2, ?3, ?4, 'keep', ?5, 0)"};
  RawStatement end_lease_{database_, "DELETE FROM leases WHERE id = ?1"};
  RawStatement count_{database_,
                      "UPDATE shared_cluster_registry SET usage_count = ?2 WHERE config_hash = ?1"};
  RawStatement access_{database_,
                       "UPDATE clusters SET last_accessed = ?2, access_count = access_count + 1 "
                       "WHERE cluster_id = ?1"};
  RawStatement policy_{database_, "UPDATE shares SET policy = 'keep' WHERE config_hash = ?1"};
};

/// Each lease with the event that granted it, as in our log.
void insert_others(RawSqlite& database, const RawRows& rows, const LeaseSamples& samples,
                   const std::string& now) {
  RawStatement(database, R"(
WITH RECURSIVE other(number) AS (
    SELECT 0 UNION ALL SELECT number + 1 FROM other WHERE number + 1 < ?1
)
INSERT INTO events (stream, version, type, payload, metadata, recorded_at, command_id, hash)
SELECT printf('registry-%064x', ?3 + number % ?2), number / ?2 + 1, 'LeaseGranted', ?4, ?5, 0, ?6, ?7
FROM other)")
      .bind(1, rows.others)
      .bind(2, rows.spread)
      .bind(3, rows.first)
      .bind(4, samples.grant_payload)
      .bind(5, samples.grant_metadata)
      .bind(6, raw_command_id)
      .bind(7, raw_hash)
      .run();
  RawStatement(database, R"(
INSERT INTO leases (id, config_hash, cluster_id, holder, policy, granted_at, created_here)
SELECT position, substr(stream, length('registry-') + 1),
       printf('1123-%06d-benchlog', ?1 + (position - 1) % ?2), ?3, 'keep', ?4, 0
FROM events)")
      .bind(1, rows.first)
      .bind(2, rows.spread)
      .bind(3, samples.holder)
      .bind(4, now)
      .run();
}

}  // namespace

std::vector<std::string> LeaseSamples::words() const {
  return {holder, grant_payload, grant_metadata, release_payload, release_metadata};
}

LeaseSamples LeaseSamples::from_words(const std::vector<std::string>& words, std::size_t first) {
  return {words.at(first), words.at(first + 1), words.at(first + 2), words.at(first + 3),
          words.at(first + 4)};
}

LeaseSamples sample_sqlite(const std::string& path) {
  const RawSqlite database(path, SQLITE_OPEN_READWRITE);
  RawStatement last(database,
                    "SELECT payload, metadata, json_extract(payload, '$.holder') FROM events "
                    "WHERE type = ?1 ORDER BY position DESC LIMIT 1");
  LeaseSamples samples;
  if (!last.bind(1, "LeaseGranted").step()) throw std::runtime_error("no lease was granted");
  samples.grant_payload = last.text(0);
  samples.grant_metadata = last.text(1);
  samples.holder = last.text(2);
  last.reset();
  if (!last.bind(1, "LeaseReleased").step()) throw std::runtime_error("no lease was released");
  samples.release_payload = last.text(0);
  samples.release_metadata = last.text(1);
  last.reset();
  return samples;
}

void make_raw_sqlite(const std::string& path, const RawRows& rows, const LeaseSamples& samples) {
  RawSqlite database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  database.execute("PRAGMA journal_mode = WAL");
  database.execute(raw_sqlite_tables);
  const std::string now = format_timestamp(wall_time());
  database.execute("BEGIN");
  if (rows.others > 0) insert_others(database, rows, samples, now);
  for (int entry = 0; entry < rows.entries; ++entry) {
    const std::string hash = config_hash_of(entry);
    const std::string cluster = cluster_id_of(entry);
    RawStatement(database,
                 "INSERT INTO clusters (cluster_id, cluster_name, num_workers, created_at, "
                 "expiry_time, last_accessed, is_active, is_shared) "
                 "VALUES (?1, 'mine', 1, ?2, ?2, ?2, 0, 1)")
        .bind(1, cluster)
        .bind(2, now)
        .run();
    RawStatement(database,
                 "INSERT INTO shared_cluster_registry (config_hash, cluster_id, status, "
                 "creation_time) VALUES (?1, ?2, 'ready', ?3)")
        .bind(1, hash)
        .bind(2, cluster)
        .bind(3, now)
        .run();
    RawStatement(database,
                 "INSERT INTO shares (config_hash, origin, created, policy, runs) "
                 "VALUES (?1, 'acquired', 1, 'keep', '[]')")
        .bind(1, hash)
        .run();
  }
  database.execute("COMMIT");
}

std::unique_ptr<RawLeases> open_raw_sqlite(const std::string& path, int entry,
                                           LeaseSamples samples) {
  return std::make_unique<RawSqliteLeases>(path, entry, std::move(samples));
}

}  // namespace dbcache::bench
