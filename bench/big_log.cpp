#include "bench/big_log.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <map>
#include <random>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include <dbcache/dbcache.hpp>

#include "events/event.hpp"
#include "store/chain.hpp"
#include "system/process.hpp"

// Makes a valid log of any length quickly, for the measurements that want a long one.
//   dbcache_big_log DATABASE EVENTS STREAMS
// The library makes the database and the first event. The others are made with the library's own
// payloads and hashes, but written in one transaction without a journal, so the tables are left to
// `dbcache replay`.
namespace {

using dbcache::bench::cluster_id_of;
using dbcache::bench::config_hash_of;
using dbcache::events::Event;
using dbcache::store::EventRecord;

/// So many events has each of the two streams numbered 0, beside those with which it begins.
constexpr std::int64_t events_of_number_0 = 20;

class Database {
 public:
  explicit Database(const std::string& path) {
    if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
      fail();
    }
  }
  ~Database() { sqlite3_close_v2(handle_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const std::string& sql) {
    if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(handle_, sql, -1, &statement, nullptr) != SQLITE_OK) fail();
    return statement;
  }
  [[noreturn]] void fail() const { throw std::runtime_error(sqlite3_errmsg(handle_)); }

 private:
  sqlite3* handle_ = nullptr;
};

std::string text_of(sqlite3_stmt* statement, int column) {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement, column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement, column))};
}

/// Appends events to the log.
class Writer {
 public:
  explicit Writer(Database& database) : database_(database) {
    sqlite3_stmt* const first =
        database.prepare("SELECT stream, version, hash, metadata, position FROM events");
    while (sqlite3_step(first) == SQLITE_ROW) {
      ends_[text_of(first, 0)] = {sqlite3_column_int64(first, 1), text_of(first, 2)};
      record_.metadata = text_of(first, 3);
      record_.position = sqlite3_column_int64(first, 4);
    }
    sqlite3_finalize(first);
    insert_ = database.prepare("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    record_.recorded_at = std::chrono::duration_cast<std::chrono::microseconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count();
    record_.command_id.resize(16);
  }
  ~Writer() { sqlite3_finalize(insert_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  [[nodiscard]] std::int64_t position() const { return record_.position; }

  void append(const Event& event) {
    record_.position += 1;
    record_.stream = dbcache::events::stream_of(event);
    record_.type = dbcache::events::type_of(event);
    record_.payload = dbcache::events::payload_of(event);
    record_.recorded_at += 100;
    std::generate(record_.command_id.begin(), record_.command_id.end(),
                  [this] { return static_cast<char>(random_() & 0xFF); });
    End& end = ends_[record_.stream];
    record_.version = ++end.version;
    end.hash = record_.hash = dbcache::store::chain_hash(record_, end.hash);
    insert();
  }

 private:
  struct End {
    std::int64_t version = 0;
    std::string hash;
  };

  void insert() {
    int at = 0;
    const auto number = [&](std::int64_t value) { sqlite3_bind_int64(insert_, ++at, value); };
    const auto text = [&](const std::string& value) {
      sqlite3_bind_text(insert_, ++at, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    };
    const auto blob = [&](const std::string& value) {
      sqlite3_bind_blob(insert_, ++at, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    };
    number(record_.position);
    text(record_.stream);
    number(record_.version);
    text(record_.type);
    text(record_.payload);
    text(record_.metadata);
    number(record_.recorded_at);
    blob(record_.command_id);
    blob(record_.hash);
    if (sqlite3_step(insert_) != SQLITE_DONE) database_.fail();
    sqlite3_reset(insert_);
  }

  Database& database_;
  sqlite3_stmt* insert_ = nullptr;
  EventRecord record_;
  std::map<std::string, End> ends_;
  std::minstd_rand random_;
};

dbcache::Timestamp now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

void begin_streams(Writer& writer, std::int64_t pairs) {
  const auto worker = dbcache::system::identify_process(::getpid());
  for (std::int64_t number = 0; number < pairs; ++number) {
    dbcache::CachedCluster cluster;
    cluster.cluster_id = cluster_id_of(number);
    cluster.cluster_name = fmt::format("integration-tests-{}", number);
    cluster.host = "https://workspace.cloud.databricks.com";
    cluster.num_workers = 2;
    cluster.created_at = cluster.last_accessed = now();
    cluster.expiry_time = now() + std::chrono::years{10};
    cluster.is_active = number == 0;
    cluster.is_shared = true;
    writer.append(dbcache::events::ClusterCached{cluster,
                                                 {{"cluster_name", *cluster.cluster_name},
                                                  {"host", *cluster.host},
                                                  {"node_type_id", "m5.large"},
                                                  {"num_workers", 2},
                                                  {"spark_version", "13.3.x-scala2.12"}}});
    if (number > 0) {  // the library registered number 0
      writer.append(dbcache::events::CreationRegistered{config_hash_of(number), now(), worker});
    }
    writer.append(dbcache::events::RegistryStatusChanged{
        config_hash_of(number), dbcache::RegistryStatus::creating, dbcache::RegistryStatus::ready,
        cluster_id_of(number), std::nullopt});
  }
}

void use_streams(Writer& writer, std::int64_t pairs, std::int64_t events) {
  std::minstd_rand random;
  std::uniform_int_distribution<std::int64_t> any(1, pairs - 1);
  std::vector<std::int64_t> accesses(static_cast<std::size_t>(pairs), 1);
  std::vector<std::int64_t> uses(static_cast<std::size_t>(pairs), 1);
  const auto access = [&](std::int64_t number) {
    const std::int64_t count = ++accesses[static_cast<std::size_t>(number)];
    writer.append(dbcache::events::ClusterAccessed{cluster_id_of(number), now(), count});
  };
  const auto use = [&](std::int64_t number) {
    std::int64_t& count = uses[static_cast<std::size_t>(number)];
    if (count < 2 || (count < 32 && random() % 2 == 0)) {
      writer.append(dbcache::events::UsageIncremented{config_hash_of(number), ++count});
    } else {
      writer.append(dbcache::events::UsageDecremented{config_hash_of(number), --count});
    }
  };
  const std::int64_t step = (events - writer.position()) / (events_of_number_0 + 1);
  std::int64_t next = writer.position() + step;
  std::int64_t left = events_of_number_0;
  while (writer.position() < events) {
    const bool of_number_0 = left > 0 && writer.position() >= next;
    if (of_number_0) {
      access(0);
      use(0);
      next += step;
      --left;
    } else if (random() % 2 == 0) {
      access(any(random));
    } else {
      use(any(random));
    }
  }
}

void make_log(const std::string& path, std::int64_t events, std::int64_t streams) {
  const std::int64_t pairs = streams / 2;
  if (pairs < 2 || events < 4 * streams) {
    throw std::invalid_argument("4 STREAMS or more, and four times as many EVENTS, please");
  }
  dbcache::CacheManager({.database = path})
      .register_shared_cluster_creation(config_hash_of(0), ::getpid());
  Database database(path);
  sqlite3_stmt* const trigger =
      database.prepare("SELECT sql FROM sqlite_master WHERE name = 'events_refuse_replace'");
  if (sqlite3_step(trigger) != SQLITE_ROW) database.fail();
  const std::string refuse_replace = text_of(trigger, 0);
  sqlite3_finalize(trigger);
  database.execute(
      "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
      "PRAGMA cache_size = -500000; BEGIN IMMEDIATE; DROP TRIGGER events_refuse_replace");
  {
    Writer writer(database);
    begin_streams(writer, pairs);
    use_streams(writer, pairs, events);
  }
  database.execute(refuse_replace);
  database.execute("COMMIT; PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: dbcache_big_log DATABASE EVENTS STREAMS\n";
    return 2;
  }
  try {
    make_log(argv[1], std::stoll(argv[2]), std::stoll(argv[3]));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dbcache_big_log: " << error.what() << "\n";
    return 1;
  }
}
