#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/shared_clusters.hpp>

#include "bench/contention.hpp"
#include "bench/joins_roles.hpp"
#include "bench/joins_table.hpp"
#include "bench/measure.hpp"
#include "bench/raw_leases.hpp"
#include "bench/worker.hpp"
#include "support/postgres_server.hpp"

// What it costs to acquire and release a cluster that is ready, beside many leases of others that
// live, against the same written by hand (raw_leases.hpp), by turns in the same run.
namespace dbcache::bench {
namespace {

/// Of one process that keeps others' leases, which on SQLite has a descriptor for each.
constexpr std::int64_t most_leases_of_a_holder = 2000;

/// In processors.
constexpr double most_work_of_others = 0.25;

struct Settings {
  std::string engine = "sqlite";
  std::vector<std::int64_t> others{0, 100, 1000, 10'000};
  std::vector<std::int64_t> spreads{1, 500};
  std::vector<int> processes{1, 8};
  int rounds = 3;
  double seconds = 2;
  std::string directory = std::filesystem::temp_directory_path().string();
  bool same = false;
  bool held = false;
  bool sweep = false;
  bool ready = false;
  std::vector<std::int64_t> crowd;  ///< Workers, processes, configurations; else empty.
  std::string json;
};

volatile std::sig_atomic_t interrupted = 0;

/// So that what was begun is ended and removed, like after an error.
void stop_if_interrupted() {
  if (interrupted != 0) throw std::runtime_error("interrupted");
}

class Directory {
 public:
  explicit Directory(const std::string& parent) {
    std::string pattern = parent + "/dbcache-joins-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no directory: " + pattern);
    path_ = pattern;
  }
  ~Directory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Databases of one measurement: dead leases of one do not burden the next. Removed at the end, but
/// for those on a server, which go with it.
class Stage {
 public:
  Stage(const Settings& settings, test::PostgresServer* server)
      : settings_(settings), on_server_(server != nullptr) {
    if (server != nullptr) {
      ours_ = server->new_database();
      raw_ = server->new_database();
    } else {
      directory_.emplace(settings.directory);
      ours_ = directory_->path() + "/ours.db";
      raw_ = directory_->path() + "/raw.db";
    }
    Worker(prime_role(ours_)).finish();
  }

  /// Returns once the leases are held. They are until this goes.
  void hold(const Others& others) {
    for (std::int64_t first = 0; first < others.leases; first += most_leases_of_a_holder) {
      holders_.emplace_back(
          holder_role({.database = ours_,
                       .first = first,
                       .count = std::min(most_leases_of_a_holder, others.leases - first),
                       .spread = others.spread,
                       .first_configuration = first_configuration(others)}));
    }
    for (const Worker& holder : holders_) {
      static_cast<void>(holder.get());
      stop_if_interrupted();
    }
  }

  void make_raw(const Others& others, int entries) {
    samples_ = on_server_ ? sample_postgres(ours_) : sample_sqlite(ours_);
    const RawRows rows{.entries = entries,
                       .others = others.leases,
                       .spread = others.spread,
                       .first = first_configuration(others)};
    (on_server_ ? make_raw_postgres : make_raw_sqlite)(raw_, rows, samples_);
  }

  [[nodiscard]] Contention run_ours(int processes) const {
    return run(processes, [this](int number) { return ours_role(ours_, number); });
  }
  [[nodiscard]] Contention run_raw(int processes) const {
    return run(processes,
               [this](int number) { return raw_role(settings_.engine, raw_, number, samples_); });
  }
  [[nodiscard]] Contention run_sweeps() const {
    return run(1, [this](int) { return sweep_role(ours_); });
  }
  [[nodiscard]] const std::string& ours() const { return ours_; }

 private:
  static std::int64_t first_configuration(const Others& others) {
    return others.held ? 0 : first_other;
  }

  template <class RoleOf>
  [[nodiscard]] Contention run(int processes, RoleOf role_of) const {
    stop_if_interrupted();
    std::vector<RoleWords> roles;
    for (int number = 0; number < processes; ++number) {
      roles.push_back(role_of(settings_.same ? 0 : number));
    }
    return run_contenders(roles, Seconds(settings_.seconds));
  }

  const Settings& settings_;
  const bool on_server_;
  std::optional<Directory> directory_;
  std::string ours_;
  std::string raw_;
  LeaseSamples samples_;
  std::deque<Worker> holders_;  // killed before the directory is removed
};

/// Which others there are to measure beside, each once: nobody is spread in one way only.
std::vector<Others> all_others(const Settings& settings) {
  std::vector<Others> all;
  for (const std::int64_t leases : settings.others) {
    for (const std::int64_t spread : settings.spreads) {
      const Others others{leases, std::min(spread, std::max<std::int64_t>(leases, 1)),
                          settings.held && leases > 0};
      if (std::find(all.begin(), all.end(), others) == all.end()) all.push_back(others);
    }
  }
  return all;
}

void measure_joins(const Settings& settings, test::PostgresServer* server, JoinsResults& results) {
  const int entries =
      settings.same ? 1 : *std::max_element(settings.processes.begin(), settings.processes.end());
  for (const Others& others : all_others(settings)) {
    Stage stage(settings, server);
    // Before the others: the log's last grant is now one that joined, as the measured ones do.
    stage.make_raw(others, entries);
    stage.hold(others);
    ::sync();  // else what was just written goes to the disk while others are measured
    for (const int processes : settings.processes) {
      JoinsLine line{settings.engine, processes, settings.same, others, {}, {}};
      for (int round = 0; round < settings.rounds; ++round) {
        line.ours.add(stage.run_ours(processes));
        line.raw.add(stage.run_raw(processes));
      }
      std::cerr << to_text(line) << std::endl;
      results.joins.push_back(std::move(line));
    }
  }
}

void measure_sweeps(const Settings& settings, test::PostgresServer* server, JoinsResults& results) {
  for (const Others& others : all_others(settings)) {
    Stage stage(settings, server);
    stage.hold(others);
    ::sync();
    SweepLine line{settings.engine, others, {}};
    for (int round = 0; round < settings.rounds; ++round) line.sweeps.add(stage.run_sweeps());
    std::cerr << to_text(line) << std::endl;
    results.sweeps.push_back(std::move(line));
  }
}

/// How long it takes until nothing is left of the dead but what is owed. `living` leases are
/// others'.
void find_the_dead(const std::string& database, std::int64_t living, CrowdLine& line) {
  constexpr std::chrono::minutes longest{1};
  SharedClusters clusters({.database = database});
  const auto begin = SteadyClock::now();
  do {
    line.owed = std::ssize(clusters.owed());
    line.seconds_to_find = std::chrono::duration<double>(SteadyClock::now() - begin).count();
    line.left = std::ssize(clusters.leases().leases) - living;
  } while (line.left > 0 && SteadyClock::now() < begin + longest);
}

/// `living`: of others, who hold the crowd's clusters.
CrowdLine run_crowd(const Stage& stage, std::int64_t living, CrowdLine line) {
  std::deque<Worker> processes;
  std::int64_t first = 0;
  for (std::int64_t number = 0; number < line.processes; ++number) {
    const std::int64_t end = line.workers * (number + 1) / line.processes;
    processes.emplace_back(crowd_role({.database = stage.ours(),
                                       .first = first,
                                       .count = end - first,
                                       .configurations = line.configurations}));
    first = end;
  }
  for (const Worker& process : processes) static_cast<void>(process.get());
  const Nanoseconds begin = to_nanoseconds(SteadyClock::now() + std::chrono::milliseconds{100});
  for (const Worker& process : processes) process.put(begin);
  Nanoseconds last = begin;
  for (const Worker& process : processes) {
    last = std::max(last, process.get());
    line.failed += process.get();
    line.created += process.get();
  }
  line.seconds = static_cast<double>(last - begin) / 1e9;
  // Only now: all of them hold at one time.
  processes.clear();
  find_the_dead(stage.ours(), living, line);
  return line;
}

void measure_crowds(const Settings& settings, test::PostgresServer* server, JoinsResults& results) {
  for (int round = 0; round < settings.rounds; ++round) {
    stop_if_interrupted();
    Stage stage(settings, server);
    const std::int64_t living = settings.ready ? settings.crowd.at(2) : 0;
    if (settings.ready) stage.hold({living, living, false});
    ::sync();
    const CrowdLine line = run_crowd(
        stage, living,
        {settings.engine, settings.crowd.at(0), settings.crowd.at(1), settings.crowd.at(2)});
    std::cerr << to_text(line) << std::endl;
    results.crowds.push_back(line);
  }
}

void prepare_process() {
  for (const char* name : {"DATABRICKS_CLUSTER_ID", "DATABRICKS_HOST", "DATABRICKS_TOKEN",
                           "DBCACHE_DATABASE", "DBCACHE_LABEL", "DBCACHE_LEASE",
                           "DBCACHE_RUN_LEASE", "DBCACHE_SCHEMA", "PYTEST_CURRENT_TEST"}) {
    ::unsetenv(name);
  }
  std::signal(SIGPIPE, SIG_IGN);  // a process that died is told of by name
  for (const int signal : {SIGHUP, SIGINT, SIGTERM}) {
    std::signal(signal, [](int) { interrupted = 1; });
  }
}

/// With room for a crowd that waits or holds at one time.
std::unique_ptr<test::PostgresServer> start_server(const std::string& directory,
                                                   std::int64_t processes,
                                                   boost::json::object& machine) {
  const std::int64_t room = std::max<std::int64_t>(400, 2 * processes);
  // The first is what a test's server has otherwise than by default.
  test::PostgresSettings how{.storage = directory,
                             .more = {{"max_wal_size", "1GB"},
                                      {"max_connections", std::to_string(room)},
                                      {"max_locks_per_transaction", "256"}}};
  auto server = std::make_unique<test::PostgresServer>(std::move(how));
  machine.erase("sqlite");
  machine["postgresql"] = server->query("SHOW server_version");
  for (const char* setting : {"fsync", "synchronous_commit", "wal_sync_method", "shared_buffers"}) {
    machine[setting] = server->query(std::string("SHOW ") + setting);
  }
  return server;
}

void write_json(const Settings& settings, const boost::json::object& machine,
                const JoinsResults& results) {
  boost::json::object all = results.to_json();
  all["machine"] = machine;
  all["rounds"] = settings.rounds;
  all["seconds"] = settings.seconds;
  std::ofstream file(settings.json);
  file << boost::json::serialize(all) << "\n";
  if (!file.flush()) throw std::runtime_error(settings.json + " cannot be written");
}

void run(Settings settings) {
  prepare_process();
  std::filesystem::create_directories(settings.directory);
  settings.directory = std::filesystem::absolute(settings.directory).string();
  auto machine = describe_machine(settings.directory);
  std::unique_ptr<test::PostgresServer> server;
  if (settings.engine == "postgres") {
    server = start_server(settings.directory, settings.crowd.empty() ? 0 : settings.crowd.at(1),
                          machine);
  }
  ::sync();  // else the new server's files are written while it is measured
  const OtherWork other_work;
  JoinsResults results;
  if (!settings.crowd.empty()) {
    measure_crowds(settings, server.get(), results);
  } else if (settings.sweep) {
    measure_sweeps(settings, server.get(), results);
  } else {
    measure_joins(settings, server.get(), results);
  }
  if (server) server->stop();  // what it took counts as ours once it has ended
  const double others = other_work.processors();
  machine["processors_used_by_others"] = fmt::format("{:.2f}", others);
  for (const auto& [key, value] : machine) {
    std::cout << std::string_view(key.data(), key.size()) << ": "
              << (value.is_string() ? std::string(value.get_string())
                                    : boost::json::serialize(value))
              << "\n";
  }
  std::cout << "\n";
  results.print(std::cout);
  if (others > most_work_of_others) {
    std::cout << fmt::format(
        "\nOther programs took {:.2f} processors meanwhile: unless these had to give way, the "
        "figures say nothing.\n",
        others);
  }
  if (!settings.json.empty()) write_json(settings, machine, results);
}

void add_options(CLI::App& app, Settings& settings) {
  app.add_option("--engine", settings.engine, "sqlite or postgres; sqlite by default")
      ->check(CLI::IsMember({"sqlite", "postgres"}));
  app.add_option("--others", settings.others,
                 "How many leases others hold meanwhile; 0,100,1000,10000 by default")
      ->delimiter(',')
      ->check(CLI::Range(0, 100'000));
  app.add_option("--spread", settings.spreads,
                 "Over how many configurations these are spread; 1,500 by default")
      ->delimiter(',')
      ->check(CLI::Range(1, 100'000));
  app.add_option("--processes", settings.processes,
                 "How many processes call at once; 1,8 by default")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  app.add_option("--rounds", settings.rounds, "How many rounds, 3 by default")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", settings.seconds, "Of one side in one round, 2 by default")
      ->check(CLI::Range(0.1, 600.0));
  app.add_option("--directory", settings.directory,
                 "Where to make databases, removed at the end; the temporary directory by default");
  app.add_flag("--same", settings.same, "All processes on one configuration, not each on its own");
  app.add_flag("--held", settings.held,
               "The others' configurations are those of the measured processes: with --spread 1 "
               "that of the first process, or of all with --same");
  auto* const sweep = app.add_flag("--sweep", settings.sweep,
                                   "Measures instead SharedClusters::owed() beside the others");
  auto* const crowd =
      app.add_option(
             "--crowd", settings.crowd,
             "WORKERS,PROCESSES,CONFIGURATIONS: measures instead how long it takes until so "
             "many workers, threads of so many processes, hold that acquire at one moment, and, "
             "when they were killed, until sweeps have found them")
          ->delimiter(',')
          ->check(CLI::Range(1, 100'000))
          ->excludes(sweep);
  app.add_flag("--ready", settings.ready,
               "The crowd's clusters are ready, and each is held by another process")
      ->needs(crowd);
  app.add_option("--json", settings.json, "A file for all that was measured");
}

/// Nothing: done, with this status.
std::optional<Settings> read_settings(int argc, char** argv, int& status) {
  Settings settings;
  CLI::App app("Measures acquire and release beside many leases, against the same by hand.");
  add_options(app, settings);
  try {
    app.parse(argc, argv);
    const auto& crowd = settings.crowd;
    if (!crowd.empty() && (crowd.size() != 3 || crowd[0] < crowd[1])) {
      throw CLI::ValidationError(
          "--crowd", "takes WORKERS,PROCESSES,CONFIGURATIONS with a worker or more for a process");
    }
  } catch (const CLI::ParseError& error) {
    status = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  return settings;
}

}  // namespace
}  // namespace dbcache::bench

int main(int argc, char** argv) {
  try {
    if (argc > 2 && std::string_view(argv[1]) == "role") {
      return dbcache::bench::play_joins({argv + 2, argv + argc});
    }
    int status = 0;
    auto settings = dbcache::bench::read_settings(argc, argv, status);
    if (!settings) return status;
    dbcache::bench::run(std::move(*settings));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dbcache_joins: " << error.what() << "\n";
    return 1;
  }
}
