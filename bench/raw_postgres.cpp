#include <array>
#include <random>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "bench/big_log.hpp"
#include "bench/raw_leases.hpp"
#include "support/postgres_connection.hpp"

namespace dbcache::bench {
namespace {

/// Those of migrations/postgres that a lease's begin and end write to, without triggers.
constexpr const char* raw_postgres_tables = R"(
CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    payload text COLLATE "C" NOT NULL,
    metadata text COLLATE "C" NOT NULL,
    recorded_at bigint NOT NULL,
    command_id bytea NOT NULL,
    hash bytea NOT NULL,
    ordinal bigint NOT NULL,
    names text COLLATE "C",
    UNIQUE (stream, version),
    UNIQUE (command_id, ordinal)
);
CREATE INDEX events_naming_cluster ON events (names, stream) WHERE names IS NOT NULL;
CREATE SEQUENCE event_positions;
CREATE TABLE clusters (
    id bigint PRIMARY KEY,
    cluster_id text COLLATE "C" UNIQUE NOT NULL,
    cluster_name text COLLATE "C",
    host text COLLATE "C",
    num_workers bigint,
    status text COLLATE "C",
    created_at text COLLATE "C",
    expiry_time text COLLATE "C" NOT NULL,
    last_accessed text COLLATE "C",
    access_count bigint,
    is_active boolean,
    is_shared boolean
);
CREATE INDEX idx_expiry_time ON clusters (expiry_time);
CREATE INDEX idx_is_active ON clusters (id) WHERE is_active;
CREATE TABLE shared_cluster_registry (
    id bigint PRIMARY KEY,
    config_hash text COLLATE "C" UNIQUE NOT NULL,
    cluster_id text COLLATE "C",
    status text COLLATE "C",
    worker_pid bigint,
    creation_time text COLLATE "C",
    usage_count bigint,
    error_message text COLLATE "C"
);
CREATE INDEX entries_naming_cluster ON shared_cluster_registry (cluster_id)
WHERE cluster_id IS NOT NULL;
CREATE TABLE shares (
    config_hash text COLLATE "C" PRIMARY KEY,
    origin text COLLATE "C" NOT NULL,
    host text COLLATE "C",
    worker text COLLATE "C",
    creation bigint,
    idempotency_token text COLLATE "C",
    created boolean NOT NULL,
    "check" bigint,
    checker text COLLATE "C",
    policy text COLLATE "C",
    runs text COLLATE "C" NOT NULL
);
CREATE TABLE leases (
    id bigint PRIMARY KEY,
    config_hash text COLLATE "C" NOT NULL,
    cluster_id text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    run text COLLATE "C",
    granted_at text COLLATE "C" NOT NULL,
    created_here boolean NOT NULL
);
CREATE INDEX leases_of_config_hash ON leases (config_hash, id);
CREATE INDEX leases_on_cluster ON leases (cluster_id, id);
)";

// Each takes one round trip.
constexpr std::array<std::pair<const char*, const char*>, 10> raw_statements{
    {{"begin", "BEGIN"},
     {"entry",
      "SELECT usage_count, id, config_hash, cluster_id, status, worker_pid, creation_time, "
      "error_message FROM shared_cluster_registry WHERE config_hash = $1::text FOR UPDATE"},
     {"version",
      "SELECT version FROM events WHERE stream = $1::text ORDER BY version DESC LIMIT 1"},
     {"append",
      "INSERT INTO events (position, stream, version, type, payload, metadata, recorded_at, "
      "command_id, hash, ordinal, names) VALUES (nextval('event_positions'), $1::text, "
      "$2::bigint, $3::text, $4::text, $5::text, $6::bigint, $7::bytea, $8::bytea, 0, $9::text) "
      "RETURNING position"},
     {"begin_lease",
      "INSERT INTO leases (id, config_hash, cluster_id, holder, policy, granted_at, "
      "created_here) VALUES ($1::bigint, $2::text, $3::text, $4::text, 'keep', $5::text, false)"},
     {"end_lease", "DELETE FROM leases WHERE id = $1::bigint"},
     {"count",
      "UPDATE shared_cluster_registry SET usage_count = $2::bigint WHERE config_hash = $1::text"},
     {"access",
      "UPDATE clusters SET last_accessed = $2::text, access_count = access_count + 1 "
      "WHERE cluster_id = $1::text"},
     {"policy", "UPDATE shares SET policy = 'keep' WHERE config_hash = $1::text"},
     {"commit", "COMMIT"}}};

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using RawResult = std::unique_ptr<PGresult, ClearResult>;

class RawPostgresLeases final : public RawLeases {
 public:
  RawPostgresLeases(const std::string& url, int entry, LeaseSamples samples)
      : config_hash_(config_hash_of(entry)),
        cluster_id_(cluster_id_of(entry)),
        stream_("registry-" + config_hash_),
        samples_(std::move(samples)),
        connection_(url) {
    for (const auto& [name, sql] : raw_statements) {
      const RawResult prepared(PQprepare(connection_.get(), name, sql, 0, nullptr));
      if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) fail();
    }
  }

  void grant() override {
    const Timestamp now = wall_time();
    const std::string granted_at = format_timestamp(now);
    in_transaction([&] {
      const std::int64_t uses = read_uses();
      lease_ = append("LeaseGranted", samples_.grant_payload, samples_.grant_metadata, now,
                      cluster_id_.c_str());
      ask("begin_lease", {lease_.c_str(), config_hash_.c_str(), cluster_id_.c_str(),
                          samples_.holder.c_str(), granted_at.c_str()});
      ask("count", {config_hash_.c_str(), std::to_string(uses + 1).c_str()});
      ask("access", {cluster_id_.c_str(), granted_at.c_str()});
    });
  }

  void release() override {
    const Timestamp now = wall_time();
    in_transaction([&] {
      const std::int64_t uses = read_uses();
      append("LeaseReleased", samples_.release_payload, samples_.release_metadata, now, nullptr);
      ask("end_lease", {lease_.c_str()});
      ask("count", {config_hash_.c_str(), std::to_string(uses - 1).c_str()});
      ask("policy", {config_hash_.c_str()});
    });
  }

 private:
  using Values = std::vector<const char*>;

  [[noreturn]] void fail() const {
    throw std::runtime_error(std::string("raw failed: ") + PQerrorMessage(connection_.get()));
  }

  /// The first column of the first row; empty where there is none.
  std::string ask(const char* statement, const Values& values) {
    const RawResult result(PQexecPrepared(connection_.get(), statement,
                                          static_cast<int>(values.size()), values.data(), nullptr,
                                          nullptr, 0));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail();
    if (status == PGRES_COMMAND_OK || PQntuples(result.get()) == 0) return "";
    return PQgetvalue(result.get(), 0, 0);
  }

  template <class Steps>
  void in_transaction(Steps steps) {
    ask("begin", {});
    try {
      steps();
      ask("commit", {});
    } catch (...) {
      const RawResult rolled_back(PQexec(connection_.get(), "ROLLBACK"));
      throw;
    }
  }

  std::int64_t read_uses() {
    const std::string uses = ask("entry", {config_hash_.c_str()});
    if (uses.empty()) throw std::runtime_error("raw has no entry " + config_hash_);
    return std::stoll(uses);
  }

  /// The event's position. `names` may be null.
  std::string append(const char* type, const std::string& payload, const std::string& metadata,
                     Timestamp now, const char* names) {
    const std::string last = ask("version", {stream_.c_str()});
    const std::string version = std::to_string(last.empty() ? 1 : std::stoll(last) + 1);
    const std::string recorded_at = std::to_string(now.time_since_epoch().count());
    const std::string command_id = fmt::format("\\x{:016x}{:016x}", random_(), random_());
    return ask("append", {stream_.c_str(), version.c_str(), type, payload.c_str(), metadata.c_str(),
                          recorded_at.c_str(), command_id.c_str(), no_hash_.c_str(), names});
  }

  const std::string config_hash_;
  const std::string cluster_id_;
  const std::string stream_;
  const LeaseSamples samples_;
  const std::string no_hash_ = "\\x" + std::string(64, '0');
  std::string lease_;
  std::mt19937_64 random_{(std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  test::PostgresConnection connection_;
};

/// A text in quotation marks.
std::string quoted(const test::PostgresConnection& connection, const std::string& text) {
  char* const literal = PQescapeLiteral(connection.get(), text.data(), text.size());
  if (literal == nullptr) throw std::runtime_error(PQerrorMessage(connection.get()));
  std::string quoted = literal;
  PQfreemem(literal);
  return quoted;
}

}  // namespace

LeaseSamples sample_postgres(const std::string& url) {
  test::PostgresConnection connection(url);
  const auto last = [&](const std::string& column, const std::string& type) {
    return connection.query("SELECT " + column + " FROM dbcache.events WHERE type = '" + type +
                            "' ORDER BY position DESC LIMIT 1");
  };
  return {last("payload::json->'holder'", "LeaseGranted"), last("payload", "LeaseGranted"),
          last("metadata", "LeaseGranted"), last("payload", "LeaseReleased"),
          last("metadata", "LeaseReleased")};
}

void make_raw_postgres(const std::string& url, const RawRows& rows, const LeaseSamples& samples) {
  test::PostgresConnection connection(url);
  connection.execute(raw_postgres_tables);
  const std::string now = quoted(connection, format_timestamp(wall_time()));
  // Each lease with the event that granted it, as in our log.
  const auto hash_of = [](const std::string& number) {
    return "lpad(to_hex(" + number + "), 64, '0')";
  };
  const auto cluster_of = [](const std::string& number) {
    return "'1123-' || lpad(" + number + "::text, 6, '0') || '-benchlog'";
  };
  const std::string of_other = fmt::format("({} + number % {})", rows.first, rows.spread);
  connection.execute(fmt::format(
      "INSERT INTO events SELECT nextval('event_positions'), 'registry-' || {}, "
      "number / {} + 1, 'LeaseGranted', {}, {}, 0, uuid_send(gen_random_uuid()), "
      "decode(repeat('00', 32), 'hex'), 0, {} FROM generate_series(0::bigint, {} - 1) AS number",
      hash_of(of_other), rows.spread, quoted(connection, samples.grant_payload),
      quoted(connection, samples.grant_metadata), cluster_of(of_other), rows.others));
  connection.execute(
      fmt::format("INSERT INTO leases SELECT position, substr(stream, length('registry-') + 1), "
                  "names, {}, 'keep', NULL, {}, false FROM events",
                  quoted(connection, samples.holder), now));
  const std::string mine =
      fmt::format("generate_series(0::bigint, {} - 1) AS number", rows.entries);
  connection.execute(
      fmt::format("INSERT INTO clusters SELECT number + 1, {}, 'mine', NULL, 1, 'RUNNING', {}, {}, "
                  "{}, 1, false, true FROM {}",
                  cluster_of("number"), now, now, now, mine));
  connection.execute(
      fmt::format("INSERT INTO shared_cluster_registry SELECT number + 1, {}, {}, 'ready', NULL, "
                  "{}, 0, NULL FROM {}",
                  hash_of("number"), cluster_of("number"), now, mine));
  connection.execute(
      fmt::format("INSERT INTO shares (config_hash, origin, created, policy, runs) "
                  "SELECT {}, 'acquired', true, 'keep', '[]' FROM {}",
                  hash_of("number"), mine));
  connection.execute("ANALYZE");
}

std::unique_ptr<RawLeases> open_raw_postgres(const std::string& url, int entry,
                                             LeaseSamples samples) {
  return std::make_unique<RawPostgresLeases>(url, entry, std::move(samples));
}

}  // namespace dbcache::bench
