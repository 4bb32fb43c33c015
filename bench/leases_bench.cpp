#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#include <boost/json.hpp>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <dbcache/dbcache.hpp>

// What waiting for a cluster costs across processes: how long it takes until a waiter has its lease
// after the commit that it waits for, what a waiting process uses of the processor, and how long it
// takes until another creates once a creator was killed.
//   dbcache_leases_bench [--rounds N] [--takeovers N] [--seconds S] [--json FILE]
namespace {

using dbcache::AcquireOptions;
using dbcache::ClusterConfig;
using dbcache::ClusterLease;
using dbcache::ClusterLifecycle;
using dbcache::Creation;
using dbcache::SharedClusters;
using Nanoseconds = std::int64_t;

struct Settings {
  int rounds = 1000;
  int takeovers = 100;
  int seconds = 30;
  std::string json;
};

Nanoseconds read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return Nanoseconds{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}
Nanoseconds now() { return read_clock(CLOCK_MONOTONIC); }

void sleep_for(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

/// Between processes.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  }
  ~Pipe() {
    for (const int end : ends_) ::close(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void put(Nanoseconds value) const {
    if (::write(ends_[1], &value, sizeof value) != sizeof value) std::abort();
  }
  [[nodiscard]] Nanoseconds get() const {
    Nanoseconds value = 0;
    if (::read(ends_[0], &value, sizeof value) != sizeof value) std::abort();
    return value;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

/// A forked child, which dies with its parent.
template <class Body>
pid_t start(Body body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dbcache_leases_bench: %s\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

void expect_end(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) throw std::runtime_error("a child failed");
}
void kill_and_wait(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

struct Database {
  Database() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dbcache-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    directory = pattern;
  }
  ~Database() {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[nodiscard]] dbcache::Options options() const {
    return {.database = (directory / "cache.db").string()};
  }

  std::filesystem::path directory;
};

ClusterConfig config(const std::string& name) {
  return {{"cluster_name", name}, {"host", "https://bench.example"}};
}

/// Commits to an entry that nobody waits for, 100 times a second, as long as this lives.
class Commits {
 public:
  explicit Commits(const Database& database)
      : pid_(start([&] {
          dbcache::CacheManager manager(database.options());
          manager.register_shared_cluster_creation("unrelated", ::getpid());
          const auto began = std::chrono::steady_clock::now();
          for (int number = 0;; ++number) {
            std::this_thread::sleep_until(began + number * std::chrono::milliseconds{10});
            manager.increment_shared_cluster_usage("unrelated");
          }
        })) {}
  ~Commits() { kill_and_wait(pid_); }
  Commits(const Commits&) = delete;
  Commits& operator=(const Commits&) = delete;

  static std::int64_t count(const Database& database) {
    const auto entry =
        dbcache::CacheManager(database.options()).get_shared_cluster_info("unrelated");
    return entry ? entry->usage_count : 0;
  }

 private:
  pid_t pid_;
};

// ---- Figures

class Figures {
 public:
  void add(Nanoseconds time) { milliseconds_.push_back(static_cast<double>(time) / 1e6); }

  boost::json::object summary() {
    std::sort(milliseconds_.begin(), milliseconds_.end());
    return {{"count", milliseconds_.size()},
            {"p50_ms", rank(0.50)},
            {"p99_ms", rank(0.99)},
            {"max_ms", rank(1.0)}};
  }

 private:
  /// The smallest time that this share of all times does not exceed.
  [[nodiscard]] double rank(double share) const {
    const auto count = static_cast<double>(milliseconds_.size());
    const auto at = static_cast<std::size_t>(std::ceil(share * count));
    return std::round(milliseconds_.at(std::max<std::size_t>(at, 1) - 1) * 1000) / 1000;
  }

  std::vector<double> milliseconds_;
};

void print(const char* what, const boost::json::object& figures) {
  std::printf("%-64s", what);
  for (const auto& [key, value] : figures) {
    const std::string name(key);
    if (value.is_double()) {
      std::printf("  %s %.3f", name.c_str(), value.as_double());
    } else {
      std::printf("  %s %s", name.c_str(), boost::json::serialize(value).c_str());
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

// ---- Waking

/// `first`: from when the creator's acquire has returned, which is some microseconds after the
/// commit of `ready` is on disk and signalled. `second`: from when `create` returned, before that
/// commit began. Both until the waiter's acquire has returned, its own commit included.
std::pair<Figures, Figures> measure_waking(const Database& database, int rounds) {
  const Pipe begun;
  const Pipe waiting;
  const Pipe released;
  const Pipe created;
  const Pipe woken;
  // Handed back after each round, so that a round finds what the first one found.
  const auto how = [] {
    AcquireOptions options;
    options.policy = dbcache::HandBackPolicy::hand_back;
    return options;
  };
  const pid_t creator = start([&] {
    SharedClusters clusters(database.options());
    for (int round = 0; round < rounds; ++round) {
      Nanoseconds before_commit = 0;
      ClusterLease lease = clusters.acquire(
          config("waking"),
          {.create =
               [&](const ClusterConfig&, Creation&) {
                 begun.put(0);
                 static_cast<void>(waiting.get());
                 sleep_for(std::chrono::milliseconds{10});  // until the waiter is asleep
                 before_commit = now();
                 return "c-" + std::to_string(round);
               }},
          how());
      const Nanoseconds after_commit = now();
      created.put(before_commit);
      created.put(after_commit);
      static_cast<void>(released.get());
      lease.release();
      clusters.settle([](const dbcache::Termination&) {});
    }
  });
  const pid_t waiter = start([&] {
    SharedClusters clusters(database.options());
    for (int round = 0; round < rounds; ++round) {
      static_cast<void>(begun.get());
      bool told = false;
      AcquireOptions options = how();
      options.on_wait = [&](const dbcache::WaitProgress&) {
        if (!told) waiting.put(0);
        told = true;
      };
      ClusterLease lease = clusters.acquire(
          config("waking"),
          {.create = [](const ClusterConfig&, Creation&) -> std::string { std::abort(); }},
          options);
      woken.put(now());
      lease.release();
      released.put(0);
    }
  });
  std::pair<Figures, Figures> figures;
  for (int round = 0; round < rounds; ++round) {
    const Nanoseconds before_commit = created.get();
    const Nanoseconds after_commit = created.get();
    const Nanoseconds returned = woken.get();
    figures.first.add(returned - after_commit);
    figures.second.add(returned - before_commit);
  }
  expect_end(creator);
  expect_end(waiter);
  return figures;
}

// ---- Waiting

boost::json::object measure_waiting(const Database& database, int seconds,
                                    const std::string& name) {
  const Pipe begun;
  const pid_t creator = start([&] {
    SharedClusters clusters(database.options());
    clusters.acquire(config(name), {.create = [&](const ClusterConfig&, Creation&) -> std::string {
                       begun.put(0);
                       for (;;) ::pause();
                     }});
  });
  static_cast<void>(begun.get());
  const pid_t waiter = start([&] {
    SharedClusters clusters(database.options());
    clusters.acquire(config(name), {.create = [](const ClusterConfig&, Creation&) -> std::string {
                       std::abort();
                     }});
  });
  sleep_for(std::chrono::seconds{1});  // it has looked, and sleeps
  clockid_t processor{};
  if (::clock_getcpuclockid(waiter, &processor) != 0) throw std::runtime_error("no such clock");
  const std::int64_t commits = Commits::count(database);
  const Nanoseconds before = read_clock(processor);
  sleep_for(std::chrono::seconds{seconds});
  const Nanoseconds used = read_clock(processor) - before;
  const std::int64_t committed = Commits::count(database) - commits;
  ::kill(waiter, SIGKILL);
  rusage all{};
  ::wait4(waiter, nullptr, 0, &all);
  kill_and_wait(creator);
  const auto milliseconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
  };
  return {{"seconds", seconds},
          {"cpu_ms", std::round(static_cast<double>(used) / 1e3) / 1e3},
          {"cpu_ms_with_start", milliseconds(all.ru_utime) + milliseconds(all.ru_stime)},
          {"commits_by_others", committed}};
}

// ---- Taking over

/// From the signal that kills the creator, with eight waiting, to the successor's `create`.
Figures measure_takeover(const Database& database, int takeovers) {
  constexpr int waiters = 8;
  Figures figures;
  for (int round = 0; round < takeovers; ++round) {
    const ClusterConfig what = config("takeover-" + std::to_string(round));
    const Pipe begun;
    const Pipe waiting;
    const Pipe creating;
    const pid_t creator = start([&] {
      SharedClusters clusters(database.options());
      clusters.acquire(what, {.create = [&](const ClusterConfig&, Creation&) -> std::string {
                         begun.put(0);
                         for (;;) ::pause();
                       }});
    });
    static_cast<void>(begun.get());
    std::vector<pid_t> others;
    for (int i = 0; i < waiters; ++i) {
      others.push_back(start([&] {
        bool told = false;
        AcquireOptions how;
        how.on_wait = [&](const dbcache::WaitProgress&) {
          if (!told) waiting.put(0);
          told = true;
        };
        SharedClusters clusters(database.options());
        clusters.acquire(what,
                         {.create =
                              [&](const ClusterConfig&, Creation&) {
                                creating.put(now());
                                return std::string("c-1");
                              }},
                         how);
      }));
    }
    for (int i = 0; i < waiters; ++i) static_cast<void>(waiting.get());
    sleep_for(std::chrono::milliseconds{10});  // until they are asleep
    const Nanoseconds killed = now();
    ::kill(creator, SIGKILL);
    figures.add(creating.get() - killed);
    ::waitpid(creator, nullptr, 0);
    for (const pid_t other : others) expect_end(other);
  }
  return figures;
}

Settings read_settings(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(name + " needs a value");
    const std::string value = argv[i + 1];
    if (name == "--rounds") {
      settings.rounds = std::stoi(value);
    } else if (name == "--takeovers") {
      settings.takeovers = std::stoi(value);
    } else if (name == "--seconds") {
      settings.seconds = std::stoi(value);
    } else if (name == "--json") {
      settings.json = value;
    } else {
      throw std::invalid_argument("unknown option " + name);
    }
  }
  return settings;
}

void run(const Settings& settings) {
  for (const char* name : {"DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLUSTER_ID",
                           "DBCACHE_DATABASE", "DBCACHE_LABEL", "DBCACHE_LEASE"}) {
    ::unsetenv(name);
  }
  boost::json::object all;
  const auto note = [&](const char* key, const char* what, const boost::json::object& figures) {
    print(what, figures);
    all[key] = figures;
  };
  {
    const Database database;
    auto [from_return, from_create] = measure_waking(database, settings.rounds);
    note("waking", "waking: creator's acquire returned -> waiter's acquire returned",
         from_return.summary());
    note("waking_and_commit", "waking: creator's create returned -> waiter's acquire returned",
         from_create.summary());
  }
  {
    const Database database;
    const Commits commits(database);
    auto [from_return, from_create] = measure_waking(database, settings.rounds);
    note("waking_beside_commits", "the first, beside 100 unrelated commits a second",
         from_return.summary());
    note("waking_and_commit_beside_commits", "the second, beside 100 unrelated commits a second",
         from_create.summary());
  }
  {
    const Database database;
    note("waiting", "processor time of a waiting process",
         measure_waiting(database, settings.seconds, "waiting"));
    const Commits commits(database);
    note("waiting_beside_commits", "the same, beside 100 unrelated commits a second",
         measure_waiting(database, settings.seconds, "waiting-beside-commits"));
  }
  {
    const Database database;
    note("takeover", "takeover: SIGKILL of the creator -> the successor's create, 8 waiting",
         measure_takeover(database, settings.takeovers).summary());
  }
  std::array<double, 3> load{};
  if (::getloadavg(load.data(), 3) > 0) all["load_average_1m"] = load[0];
  all["processors"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  const std::string json = boost::json::serialize(all);
  std::printf("%s\n", json.c_str());
  if (!settings.json.empty()) std::ofstream(settings.json) << json << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(read_settings(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dbcache_leases_bench: " << error.what() << "\n";
    return 1;
  }
}
