#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <sys/prctl.h>

#include <dbcache/dbcache.hpp>

#include "bench/big_log.hpp"
#include "bench/contention.hpp"
#include "bench/measure.hpp"
#include "bench/message_store.hpp"
#include "bench/report.hpp"
#include "support/postgres_server.hpp"

// What a call costs on a PostgreSQL server, beside a plain event store there (message_store.hpp),
// measured in the same run, by turns. docs/performance.md says what each row measures.
namespace dbcache::bench {
namespace {

using Words = std::vector<std::string>;

constexpr int most_clients = 8;

/// In processors.
constexpr double most_other_work = 0.25;

/// Where both sides are: databases of one server.
struct Databases {
  std::string ours;
  std::string baseline;
};

/// The stream of an entry, as our log calls it: all are of one category.
std::string shared_category(int client) {
  return fmt::format("registry-{}", config_hash_of(client));
}
/// Each of a category of its own.
std::string own_category(int client) {
  return fmt::format("registry{}-{}", client, config_hash_of(client));
}

// ---- In a client's process
//   role ours URL HASH MILLISECONDS
//   role baseline URL STREAM PAYLOAD METADATA MILLISECONDS

int play(const Words& role) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::chrono::milliseconds time(std::stoll(role.back()));
  if (role.at(0) == "ours") {
    CacheManager manager({.database = role.at(1)});
    contend(time, [&] { manager.increment_shared_cluster_usage(role.at(2)); });
  } else {
    MessageStore store(role.at(1), role.at(2), role.at(3), role.at(4));
    contend(time, [&] { store.write(); });
  }
  return 0;
}

// ---- One side over all rounds

class Measured {
 public:
  void add(Contention contention) {
    succeeded += contention.succeeded;
    failed += contention.failed;
    side.add(std::move(contention.round));
  }

  Side side;
  std::int64_t succeeded = 0;
  std::int64_t failed = 0;
};

class Fleet {
 public:
  Fleet(Databases databases, int rounds, Seconds round, Report& report)
      : databases_(std::move(databases)), rounds_(rounds), round_(round), report_(report) {
    CacheManager manager({.database = databases_.ours});
    for (int client = 0; client < most_clients; ++client) {
      const std::string hash = config_hash_of(client);
      manager.register_shared_cluster_creation(hash, ::getpid());
      manager.update_shared_cluster_status(hash, RegistryStatus::ready,
                                           {.cluster_id = cluster_id_of(client)});
    }
    manager.increment_shared_cluster_usage(config_hash_of(0));
    test::PostgresConnection session(databases_.ours);
    events_before_ = std::stoll(session.query("SELECT count(*) FROM dbcache.events"));
    // The baseline says what the same events of ours say.
    const std::string last = " FROM dbcache.events ORDER BY position DESC LIMIT 1";
    payload_ = session.query("SELECT payload" + last);
    metadata_ = session.query("SELECT metadata" + last);
    MessageStore::create(databases_.baseline);
  }

  void measure_one_client() {
    Measured ours;
    Measured baseline;
    for (int i = 0; i < rounds_; ++i) {
      ours.add(run_ours(1));
      baseline.add(run_baseline(1, own_category));
    }
    compare(1, "1 client", ours, baseline, ratio_at_least(0.6));
    count(ours, baseline);
  }

  void measure_clients() {
    Measured ours;
    Measured own;
    Measured shared;
    for (int i = 0; i < rounds_; ++i) {
      ours.add(run_ours(most_clients));
      own.add(run_baseline(most_clients, own_category));
      shared.add(run_baseline(most_clients, shared_category));
    }
    compare(2, "8 clients, each its stream, against one category of streams", ours, shared,
            ratio_at_least(1.8));
    compare(2, "8 clients, each its stream, against 8 categories", ours, own, std::nullopt);
    count(ours, own);
    baseline_.succeeded += shared.succeeded;
    baseline_.failed += shared.failed;
  }

  /// Whether every call that returned left its event, on both sides, and nothing besides.
  void check() {
    const auto calls = [](std::int64_t number) { return static_cast<double>(number); };
    test::PostgresConnection ours(databases_.ours);
    test::PostgresConnection theirs(databases_.baseline);
    const auto events =
        std::stoll(ours.query("SELECT count(*) FROM dbcache.events")) - events_before_;
    const auto messages = std::stoll(theirs.query("SELECT count(*) FROM messages"));
    const CacheManager manager({.database = databases_.ours});
    const VerifyReport verified = manager.verify();
    std::int64_t uses = 0;
    for (int client = 0; client < most_clients; ++client) {
      uses += manager.get_shared_cluster_info(config_hash_of(client)).value().usage_count;
    }
    // Each was registered with one use, and the first was used once more.
    const std::int64_t counted = uses - most_clients - 1;
    report_.add({3, "calls that failed", Unit::calls, calls(ours_.failed), calls(baseline_.failed),
                 ours_at_most(0)});
    report_.add({3, "calls without an event, or events without a call", Unit::calls,
                 calls(std::abs(events - ours_.succeeded)),
                 calls(std::abs(messages - baseline_.succeeded)), ours_at_most(0)});
    report_.add({3, "calls that are not in the usage counts", Unit::calls,
                 calls(std::abs(counted - ours_.succeeded)), 0, ours_at_most(0)});
    report_.add({3, "problems that verify finds in the log", Unit::calls,
                 calls(std::ssize(verified.problems)), 0, ours_at_most(0)});
    report_.note(
        fmt::format("{} events of ours and {} of the baseline's were checked.", events, messages));
  }

 private:
  Contention run_ours(int clients) {
    std::vector<Words> roles;
    for (int client = 0; client < clients; ++client) {
      roles.push_back({"ours", databases_.ours, config_hash_of(client)});
    }
    return run_contenders(roles, round_);
  }

  Contention run_baseline(int clients, std::string stream_of(int)) {
    std::vector<Words> roles;
    for (int client = 0; client < clients; ++client) {
      roles.push_back({"baseline", databases_.baseline, stream_of(client), payload_, metadata_});
    }
    return run_contenders(roles, round_);
  }

  void compare(int row, const std::string& what, const Measured& ours, const Measured& baseline,
               std::optional<Goal> goal) {
    report_.add({row, what, Unit::per_second, ours.side.calls_per_second(),
                 baseline.side.calls_per_second(), goal});
    report_.add({row, what + ": worst latency", Unit::milliseconds, ours.side.worst() / 1000,
                 baseline.side.worst() / 1000, std::nullopt});
    report_.add_latencies(row, what + ": ours", ours.side);
    report_.add_latencies(row, what + ": baseline", baseline.side);
  }

  void count(const Measured& ours, const Measured& baseline) {
    ours_.succeeded += ours.succeeded;
    ours_.failed += ours.failed;
    baseline_.succeeded += baseline.succeeded;
    baseline_.failed += baseline.failed;
  }

  const Databases databases_;
  const int rounds_;
  const Seconds round_;
  Report& report_;
  std::string payload_;
  std::string metadata_;
  std::int64_t events_before_ = 0;
  Measured ours_;  ///< Of all rows, as is the other.
  Measured baseline_;
};

void run(int rounds, Seconds round, const std::filesystem::path& directory,
         const std::string& json_file) {
  for (const char* name : {"DATABRICKS_HOST", "DATABRICKS_TOKEN", "DBCACHE_DATABASE",
                           "DBCACHE_SCHEMA", "DBCACHE_LABEL"}) {
    ::unsetenv(name);
  }
  std::signal(SIGPIPE, SIG_IGN);  // a client that died is told of by name
  std::filesystem::create_directories(directory);
  auto machine = describe_machine(std::filesystem::absolute(directory).string());
  machine.erase("sqlite");
  Report report;
  // Those that a test's server has otherwise than by default.
  test::PostgresServer server({.storage = std::filesystem::absolute(directory),
                               .more = {{"max_wal_size", "1GB"}, {"max_connections", "100"}}});
  machine["postgresql"] = server.query("SHOW server_version");
  for (const char* setting : {"fsync", "synchronous_commit", "wal_sync_method", "shared_buffers"}) {
    machine[setting] = server.query(std::string("SHOW ") + setting);
  }
  ::sync();  // else the new server's files are written while it is measured
  const OtherWork other_work;
  Databases databases;
  databases.ours = server.new_database();
  databases.baseline = server.new_database();
  Fleet fleet(databases, rounds, round, report);
  fleet.measure_one_client();
  fleet.measure_clients();
  fleet.check();
  server.stop();  // what it took counts as ours once it has ended
  const double others = other_work.processors();
  machine["processors_used_by_others"] = fmt::format("{:.2f}", others);
  if (others > most_other_work) {
    report.note(
        fmt::format("Other programs took {:.2f} processors meanwhile: unless these had to give way "
                    "(chrt -r 1 script/bench fleet), the figures say nothing.",
                    others));
  }
  report.print(std::cout, machine);
  if (json_file.empty()) return;
  std::ofstream file(json_file);
  file << report.to_json(machine) << "\n";
  if (!file.flush()) throw std::runtime_error(json_file + " cannot be written");
}

}  // namespace
}  // namespace dbcache::bench

int main(int argc, char** argv) {
  try {
    if (argc > 2 && std::string_view(argv[1]) == "role") {
      return dbcache::bench::play({argv + 2, argv + argc});
    }
    CLI::App app("Measures dbcache on PostgreSQL beside a plain event store there.");
    int rounds = 5;
    double seconds = 2;
    std::string directory = std::filesystem::temp_directory_path().string();
    std::string json;
    app.add_option("--rounds", rounds, "How many rounds, 5 by default")->check(CLI::Range(1, 1000));
    app.add_option("--seconds", seconds, "Of one side in one round, 2 by default")
        ->check(CLI::Range(0.1, 600.0));
    app.add_option("--directory", directory,
                   "Where to make the server's files, of 1 GB; removed at the end");
    app.add_option("--json", json, "A file for all that was measured");
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : 2;
    }
    dbcache::bench::run(rounds, dbcache::bench::Seconds(seconds), directory, json);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dbcache_fleet: " << error.what() << "\n";
    return 1;
  }
}
