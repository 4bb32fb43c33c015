#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "chaos/crowd.hpp"
#include "chaos/databricks_cloud.hpp"
#include "chaos/fleet.hpp"
#include "chaos/journal.hpp"
#include "chaos/upheavals.hpp"
#include "chaos/worker.hpp"
#include "chaos/workspace.hpp"
#include "chaos/workspace_upheavals.hpp"
#include "support/postgres_connection.hpp"
#include "support/process_namespace.hpp"
#include "support/program.hpp"
#include "workspace/fake_workspace.hpp"

// Workers that acquire, hold and release at random while one after the other is killed, and what
// else a run is to befall; then what is left is settled, and check_chaos.py judges by the log and
// the journals whether a rule was broken.
namespace dbcache::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace json = boost::json;

constexpr int skipped = 77;  // as ctest is told

/// What befalls a run beside the deaths of its workers.
struct Settings {
  CrowdSettings crowd;
  int run_for_s = 60;
  bool on_postgres = false;  ///< On a server of its own.
  int server_kills = 0;
  bool fails_over = false;
  int hosts = 0;
  std::int64_t worker = 0;  ///< This process is the worker with this number; 0: it is the driver.
  int host = -1;            ///< Of the worker, where there are several.

  [[nodiscard]] const Places& places() const { return crowd.places; }
};

/// What `dbcache cleanup --terminate` does, once, with what was kept given up before.
std::vector<std::string> settle(const Settings& settings, Workspace& workspace) {
  const Options options{.database = settings.places().database,
                        .schema = settings.places().schema,
                        .label = "driver"};
  CacheManager manager(options);
  SharedClusters clusters(manager);
  manager.clear_cluster_cache();
  const SettleReport report = clusters.settle([&](const Termination& termination) {
    const OwedTermination& owed = termination.owed;
    if (owed.cluster_id) workspace.remove(*owed.cluster_id, milliseconds{0});
    if (owed.idempotency_token) {
      workspace.remove_created_with(*owed.idempotency_token, milliseconds{0});
    }
  });
  std::vector<std::string> wrong;
  for (const auto& failure : report.failed) {
    wrong.push_back("not settled: " + failure.subject + ": " + failure.error);
  }
  for (const std::string& subject : report.left) wrong.push_back("left unsettled: " + subject);
  return wrong;
}

/// What the database says that somebody holds, or has kept.
json::array held(CacheManager& manager) {
  json::array clusters;
  for (const CachedCluster& row : manager.get_all_clusters()) clusters.emplace_back(row.cluster_id);
  for (const RegistryEntry& entry : manager.get_all_shared_clusters()) {
    if (entry.cluster_id) clusters.emplace_back(*entry.cluster_id);
  }
  for (const LeaseInfo& lease : SharedClusters(manager).leases().leases) {
    if (lease.cluster_id) clusters.emplace_back(*lease.cluster_id);
  }
  return clusters;
}

/// Lets the library terminate what is owed. Of a cluster that may still appear a while has to pass.
std::vector<std::string> pay_all(SharedClusters& clusters, const DatabricksCloud& cloud) {
  const ClusterLifecycle lifecycle = cloud.lifecycle();
  const auto give_up = monotonic_now() + std::chrono::nanoseconds(10 * latest_cluster).count();
  for (;;) {
    const SettleReport report = clusters.settle(lifecycle.terminate);
    if (report.failed.empty() && report.left.empty()) return {};
    if (monotonic_now() > give_up) {
      std::vector<std::string> wrong;
      for (const auto& failure : report.failed) {
        wrong.push_back("not settled: " + failure.subject + ": " + failure.error);
      }
      for (const std::string& subject : report.left) {
        wrong.push_back("left unsettled: " + subject);
      }
      return wrong;
    }
    spend(milliseconds{200});
  }
}

/// As `settle`, over HTTPS. In between nothing is owed, and what runs is to be held: the journal
/// has what the database says of that.
std::vector<std::string> settle_over_https(const Settings& settings) {
  const DatabricksCloud cloud(settings.places().fake());
  CacheManager manager(Options{.database = settings.places().database,
                               .schema = settings.places().schema,
                               .label = "driver"});
  SharedClusters clusters(manager);
  std::vector<std::string> wrong = pay_all(clusters, cloud);
  const std::int64_t since = monotonic_now();
  Journal(settings.places().journal_of("driver"))
      .write({{"what", "nothing is owed"}, {"held", held(manager)}, {"since", since}});
  manager.clear_cluster_cache();
  for (std::string& problem : pay_all(clusters, cloud)) wrong.push_back(std::move(problem));
  return wrong;
}

/// What `verify` and `replay --check` find in a database.
std::vector<std::string> unsoundness(const std::string& database, const std::string& schema) {
  CacheManager manager(Options{.database = database, .schema = schema});
  std::vector<std::string> wrong;
  for (const auto& problem : manager.verify().problems) wrong.push_back("verify: " + problem.what);
  for (const auto& drift : manager.replay({.mode = ReplayMode::check}).differences) {
    wrong.push_back("replay --check: " + drift.table + " " + drift.key + " " + drift.column);
  }
  return wrong;
}

std::int64_t microseconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The exit status of check_chaos.py, which prints what it found.
int judge(const Settings& settings) {
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const std::string directory = settings.places().directory.string();
  std::vector<std::string> command{PYTHON, CHECKER, settings.places().database, directory,
                                   settings.places().schema};
  if (settings.crowd.other_logs) {
    command = {PYTHON, CHECKER_OF_LOGS, settings.places().database, directory};
  } else if (settings.crowd.over_https) {
    command[1] = CHECKER_OF_HTTPS;
  }
  const pid_t pid = spawn(command, nothing);
  ::close(nothing);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status_of_ended(status);
}

/// Kills the server at random moments, and starts it again.
void kill_servers(const Settings& settings, Fleet& fleet, Crowd& crowd) {
  for (int kill = 1; kill <= settings.server_kills; ++kill) {
    crowd.work_for(crowd.pause(300, 2000));
    crowd.journal().write({{"what", "server_kill"}});
    fleet.kill_server();
    crowd.work_for(crowd.pause(0, 500));
    fleet.start_server();
  }
  crowd.work_for(seconds{3});
}

void fail_over(const Settings& settings, Fleet& fleet, Crowd& crowd) {
  crowd.work_for(seconds(settings.run_for_s) / 2);
  crowd.journal().write({{"what", "server_kill"}});
  fleet.kill_server();
  crowd.work_for(crowd.pause(0, 500));
  fleet.promote_standby();
  crowd.work_for(seconds(settings.run_for_s) / 2);
}

/// Who of a host holds something, as the tables have it.
constexpr const char* holders_of_host = R"(
  SELECT holder FROM leases UNION ALL SELECT worker FROM shares WHERE creation IS NOT NULL
  UNION ALL SELECT checker FROM shares WHERE "check" IS NOT NULL
  UNION ALL SELECT terminator FROM terminations WHERE termination IS NOT NULL
  UNION ALL SELECT holder FROM participants)";

/// Cuts a host off until the others have taken over all that it had, and joins it again.
std::vector<std::string> cut_a_host_off(const Settings& settings, Fleet& fleet, Crowd& crowd) {
  constexpr int host = 0;
  // The server is to notice within 30 s, then whom it lost has 15 s of grace, and then somebody has
  // to come by.
  constexpr seconds promised{30 + 15 + 2};
  const auto query = [&](const std::string& what) {
    test::PostgresConnection server(fleet.url());
    server.execute("SET search_path = " + settings.places().schema);
    return server.query("SELECT " + what + " WHERE strpos(holder, '" + fleet.processes_of(host) +
                        "') > 0");
  };
  const auto count_held = [&] {
    return std::stoi(
        query("count(*) FROM (" + std::string(holders_of_host) + ") AS all_holders(holder)"));
  };
  // That somebody holds for long is seen by a lease that stays.
  constexpr seconds longer_than_others_hold{3};
  constexpr int most_looks = 20;
  std::vector<std::string> wrong;
  const auto took = [&](std::int64_t since) {
    return static_cast<double>(monotonic_now() - since) / 1e9;
  };
  crowd.spare(host);  // so that some there hold for long when it is cut off
  crowd.work_for(seconds(settings.run_for_s));
  for (int look = 0; look < most_looks; ++look) {
    const std::string first = query("coalesce(min(id), 0) FROM leases");
    crowd.work_for(longer_than_others_hold);
    if (first != "0" && query("coalesce(min(id), 0) FROM leases") == first) break;
  }
  const int held = count_held();
  const std::int64_t unplugged = monotonic_now();
  fleet.unplug(host);
  crowd.journal().write({{"what", "unplugged"}, {"host", host}, {"since", unplugged}});
  int left = held;
  while (left > 0 && monotonic_now() - unplugged < 2 * std::chrono::nanoseconds(promised).count()) {
    crowd.work_for(milliseconds{100});
    left = count_held();
  }
  std::cout << "a host was cut off that held " << held << " things: after " << took(unplugged)
            << " s it holds " << left << std::endl;
  if (held == 0) wrong.emplace_back("the host that was cut off held nothing");
  if (left > 0 || monotonic_now() - unplugged > std::chrono::nanoseconds(promised).count()) {
    wrong.emplace_back("what the host held that was cut off was not taken over in time");
  }
  crowd.journal().write({{"what", "plugged_in"}, {"host", host}});
  fleet.plug_in(host);
  crowd.work_for(seconds(settings.run_for_s));
  crowd.spare({});
  return wrong;
}

/// Once all workers have ended, a sweep finds what they held. Only what has a deadline outlives its
/// worker. Other hosts' dead are known for dead only after a while, and a server takes a moment to
/// notice the end of a client.
void await_the_dead(const Settings& settings) {
  SharedClusters clusters(
      Options{.database = settings.places().database, .schema = settings.places().schema});
  test::poll_until(
      [&] {
        static_cast<void>(clusters.owed());  // notes the dead
        const LeaseReport report = clusters.leases();
        const auto outlives = [](const auto& one) { return one.holder.until.has_value(); };
        return std::ranges::all_of(report.leases, outlives) &&
               std::ranges::all_of(report.participants, outlives);
      },
      "what the dead hold");
}

int drive(Settings settings) {
  std::cout << "seed " << settings.crowd.seed << ", in " << settings.places().directory.string()
            << std::endl;
  std::filesystem::create_directories(settings.places().journals());
  Journal(settings.places().journal_of("driver"))
      .write({{"what", "clock"}, {"microseconds_since_1970", microseconds_since_1970()}});
  std::optional<Fleet> fleet;
  if (settings.on_postgres) {
    fleet.emplace(settings.hosts, settings.fails_over ? Fleet::Standby::yes : Fleet::Standby::no);
    settings.crowd.places.database = fleet->url();
    settings.crowd.durability = Durability::full;
    if (settings.places().schema.empty()) settings.crowd.places.schema = "dbcache";
  }
  std::optional<Upheavals> upheavals;
  if (settings.crowd.other_logs) upheavals.emplace(settings.places());
  std::optional<test::FakeWorkspace> fake;
  if (settings.crowd.over_https) {
    fake.emplace(std::vector<std::string>{}, settings.places().fake());
    if (settings.crowd.breaks == break_tag_look_up) {
      fake->ask("POST", "/settings", json::object{{"hidden_tags", true}});
    }
  }
  Workspace workspace(settings.places().workspace(), 0);
  std::vector<std::string> wrong;
  {
    Crowd crowd(settings.crowd, fleet ? &*fleet : nullptr);
    if (settings.server_kills > 0) {
      kill_servers(settings, *fleet, crowd);
    } else if (settings.fails_over) {
      fail_over(settings, *fleet, crowd);
    } else if (settings.hosts > 0) {
      wrong = cut_a_host_off(settings, *fleet, crowd);
    } else if (upheavals) {
      upheavals->befall(crowd, seconds(settings.run_for_s));
    } else if (fake) {
      WorkspaceUpheavals(*fake).befall(crowd, seconds(settings.run_for_s));
    } else {
      crowd.work_for(seconds(settings.run_for_s));
    }
    if (!crowd.end()) wrong.emplace_back("workers did not end");
    if (crowd.failed() > 0) wrong.emplace_back("workers failed");
  }
  spend(longest_left_behind);
  await_the_dead(settings);
  for (const std::string& problem :
       fake ? settle_over_https(settings) : settle(settings, workspace)) {
    wrong.push_back(problem);
  }
  std::vector<std::string> databases{settings.places().database};
  if (upheavals) databases = upheavals->databases();
  for (const std::string& database : databases) {
    for (const std::string& problem : unsoundness(database, settings.places().schema)) {
      wrong.push_back(problem);
    }
  }
  for (const std::string& problem : wrong) std::cout << "chaos: " << problem << std::endl;
  const int verdict = judge(settings);
  return wrong.empty() ? verdict : 1;
}

int be_worker(const Settings& settings) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (settings.host >= 0) test::ProcessNamespace::mount_own_proc();
  const WorkerSettings worker{
      .places = settings.places(),
      .number = settings.worker,
      .seed = settings.crowd.seed,
      .configurations = settings.crowd.configurations,
      .breaks = settings.crowd.breaks,
      .durability = settings.crowd.durability,
      .long_holds = settings.crowd.long_holds,
      .other_logs = settings.crowd.other_logs,
      .over_https = settings.crowd.over_https,
      .host = settings.host < 0 ? std::nullopt : std::optional(settings.host)};
  if (worker.breaks.empty()) {
    work(worker);
  } else {
    break_rule(worker);
  }
  return 0;
}

/// The variables that the library reads mean other things here than outside.
void bare_environment() {
  for (const char* name :
       {"DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLUSTER_ID", "DBCACHE_DATABASE",
        "DBCACHE_SCHEMA", "DBCACHE_LABEL", "DBCACHE_LEASE"}) {
    ::unsetenv(name);
  }
}

int run(int argc, char** argv) {
  Settings settings;
  CrowdSettings& crowd = settings.crowd;
  std::string directory;
  bool full = false;
  crowd.seed = std::random_device()();
  CLI::App app{"Workers that acquire, hold and release at random, and are killed"};
  app.add_option("--seconds", settings.run_for_s, "How long")->capture_default_str();
  app.add_option("--workers", crowd.workers, "How many at a time")->capture_default_str();
  app.add_option("--configurations", crowd.configurations, "How many")->capture_default_str();
  app.add_option("--kill-every", crowd.kill_every_ms, "Milliseconds; 0: nobody is killed")
      ->capture_default_str();
  app.add_option("--seed", crowd.seed, "Of everything random; printed");
  app.add_option("--directory", directory, "Where the journals go and stay; else a temporary one");
  app.add_option("--database", crowd.places.database, "Else one in that directory");
  app.add_option("--schema", crowd.places.schema, "Of the database, if it is on a server");
  app.add_flag("--postgres", settings.on_postgres, "On a PostgreSQL server of its own");
  app.add_option("--server-kills", settings.server_kills,
                 "How often that server is killed: for as long as this takes");
  app.add_flag("--failover", settings.fails_over,
               "Half-way the server is killed, and a standby takes over");
  app.add_option("--hosts", settings.hosts,
                 "Workers on so many hosts, of which one is cut off; for root");
  app.add_flag("--other-logs", crowd.other_logs,
               "The database is wiped, restored and robbed of its files of locks");
  app.add_flag("--workspace", crowd.over_https,
               "The clusters are of the fake workspace, over HTTPS, which is killed and fails too");
  app.add_option("--long-holds", crowd.long_holds,
                 "How many percent of some workers' uses take half a minute and more")
      ->capture_default_str();
  app.add_option("--break", crowd.breaks, "A rule for the first worker to break")->group("");
  app.add_option("--worker", settings.worker)->group("");
  app.add_option("--host", settings.host)->group("");
  app.add_flag("--full", full)->group("");
  CLI11_PARSE(app, argc, argv);
  bare_environment();
  if (full) crowd.durability = Durability::full;
  settings.on_postgres |= settings.server_kills > 0 || settings.fails_over || settings.hosts > 0;
  const bool keep = !directory.empty();
  if (!keep) {
    directory = (std::filesystem::temp_directory_path() / "dbcache-chaos-XXXXXX").string();
    if (::mkdtemp(directory.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  }
  crowd.places.directory = directory;
  if (crowd.places.database.empty()) {
    // A directory of its own, since the whole of it is exchanged.
    const std::filesystem::path in = crowd.other_logs ? "database" : "";
    crowd.places.database = (crowd.places.directory / in / "cache.db").string();
  }
  if (settings.worker > 0) return be_worker(settings);
  if (const std::string reason = test::Hosts::why_not(); settings.hosts > 0 && !reason.empty()) {
    std::cout << "skipped: hosts need root: " << reason << std::endl;
    return skipped;
  }
  const int status = drive(settings);
  if (!keep && status == 0) std::filesystem::remove_all(directory);
  return status;
}

}  // namespace
}  // namespace dbcache::chaos

int main(int argc, char** argv) try {
  return dbcache::chaos::run(argc, argv);
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
