#include "bench/rows.hpp"

#include <algorithm>
#include <barrier>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include <dbcache/dbcache.hpp>

#include "bench/baseline.hpp"
#include "bench/big_log.hpp"
#include "bench/contention.hpp"
#include "bench/databases.hpp"
#include "bench/worker.hpp"

namespace dbcache::bench {
namespace {

using Synchronous = Baseline::Synchronous;

/// Ours and the baseline's, one after the other, round by round.
struct Sides {
  Side ours;
  Side baseline;
};

template <class Ours, class Theirs>
Sides alternate(const Settings& settings, Ours ours, Theirs theirs) {
  Sides sides;
  for (int round = 0; round < settings.rounds; ++round) {
    sides.ours.add(ours());
    sides.baseline.add(theirs());
  }
  return sides;
}

/// The same by short turns within each round, so that what else the machine does in that time falls
/// on both alike.
template <class Ours, class Theirs>
Sides alternate_shortly(const Settings& settings, Ours ours, Theirs theirs) {
  constexpr Seconds turn{0.1};
  const int turns = std::max(1, static_cast<int>(settings.round / turn));
  Sides sides;
  for (int round = 0; round < settings.rounds; ++round) {
    Round of_ours;
    Round of_baseline;
    for (int i = 0; i < turns; ++i) {
      of_ours.append(ours(turn));
      of_baseline.append(theirs(turn));
    }
    sides.ours.add(std::move(of_ours));
    sides.baseline.add(std::move(of_baseline));
  }
  return sides;
}

void add_throughput(Report& report, int row, const std::string& what, const Sides& sides,
                    const Goal& goal) {
  report.add({row, what, Unit::per_second, sides.ours.calls_per_second(),
              sides.baseline.calls_per_second(), goal});
  report.add_latencies(row, what + ": ours", sides.ours);
  report.add_latencies(row, what + ": baseline", sides.baseline);
}

/// Threads that begin at once and call for so long.
template <class Call>
Round run_threads(int threads, Seconds time, Call call) {
  std::vector<Round> rounds(static_cast<std::size_t>(threads));
  std::barrier<> begin(threads);
  {
    std::vector<std::jthread> running;
    for (Round& round : rounds) {
      running.emplace_back([&] {
        begin.arrive_and_wait();
        round = run_for(time, call);
      });
    }
  }
  Round all;
  for (const Round& round : rounds) {
    all.calls_per_second += round.calls_per_second;
    all.latencies.insert(all.latencies.end(), round.latencies.begin(), round.latencies.end());
  }
  return all;
}

/// Processes that increment the same entry.
Contention contend_for_entry(const std::string& side, const std::string& database, int processes,
                             Seconds time) {
  return run_contenders(
      std::vector(static_cast<std::size_t>(processes),
                  std::vector<std::string>{"contend", side, database, Pair::config_hash()}),
      time);
}

struct ContendingSides {
  Sides sides;
  std::int64_t failed = 0;
  std::int64_t failed_of_baseline = 0;
};

ContendingSides alternate_processes(const Settings& settings, const Pair& pair, int processes) {
  ContendingSides all;
  const auto run = [&](const std::string& side, const std::string& database, std::int64_t& failed) {
    Contention contention = contend_for_entry(side, database, processes, settings.contention);
    failed += contention.failed;
    return std::move(contention.round);
  };
  all.sides = alternate(
      settings, [&] { return run("ours", pair.ours(), all.failed); },
      [&] { return run("baseline", pair.baseline(), all.failed_of_baseline); });
  return all;
}

/// A sum over /proc/PID/smaps_rollup, in MiB.
double private_memory(pid_t pid) {
  std::ifstream rollup(fmt::format("/proc/{}/smaps_rollup", pid));
  double kibibytes = 0;
  for (std::string word; rollup >> word;) {
    double size = 0;
    if ((word == "Private_Clean:" || word == "Private_Dirty:") && rollup >> size) kibibytes += size;
  }
  if (kibibytes == 0) throw std::runtime_error("/proc/PID/smaps_rollup tells nothing");
  return kibibytes / 1024;
}

}  // namespace

Settings quick_settings() {
  Settings settings;
  settings.round = Seconds{0.3};
  settings.contention = Seconds{0.5};
  settings.replayed_events = 100'000;
  settings.many_events = 1'000'000;
  return settings;
}

// ---- Changes

void measure_one_thread(const Settings& settings, Report& report) {
  const auto measure = [&](const std::string& what, Durability durability, Synchronous synchronous,
                           const Goal& goal) {
    const Pair pair(settings.directory);
    CacheManager manager({.database = pair.ours(), .durability = durability});
    Baseline baseline(pair.baseline(), synchronous);
    const std::string hash = Pair::config_hash();
    const Sides sides = alternate_shortly(
        settings,
        [&](Seconds time) {
          return run_for(time, [&] { manager.increment_shared_cluster_usage(hash); });
        },
        [&](Seconds time) { return run_for(time, [&] { baseline.increment(hash); }); });
    add_throughput(report, 1, what, sides, goal);
  };
  measure("one thread, durable increment, against FULL", Durability::full, Synchronous::full,
          ratio_at_least(0.9));
  measure("one thread, relaxed increment, against NORMAL", Durability::relaxed, Synchronous::normal,
          ratio_at_least(0.7));
}

void measure_threads(const Settings& settings, Report& report) {
  const Pair pair(settings.directory);
  CacheManager manager({.database = pair.ours()});
  Baseline baseline(pair.baseline(), Synchronous::full);
  const std::string hash = Pair::config_hash();
  const auto measure = [&](int threads, const Goal& goal) {
    const Sides sides = alternate(
        settings,
        [&] {
          return run_threads(threads, settings.round,
                             [&] { manager.increment_shared_cluster_usage(hash); });
        },
        [&] { return run_for(settings.round, [&] { baseline.increment(hash); }); });
    add_throughput(report, 2,
                   fmt::format("{} threads, durable increment, against one thread FULL", threads),
                   sides, goal);
  };
  measure(8, ratio_at_least(3));
  measure(32, ratio_at_least(5));
}

void measure_processes(const Settings& settings, Report& report) {
  const Pair pair(settings.directory);
  const auto worst_in_ms = [](const Side& side) { return side.worst() / 1000; };
  {
    const ContendingSides all = alternate_processes(settings, pair, 8);
    add_throughput(report, 3, "8 processes, one row, durable increment", all.sides,
                   ratio_at_least(1.6));
    report.add({3, "8 processes: worst latency", Unit::milliseconds, worst_in_ms(all.sides.ours),
                worst_in_ms(all.sides.baseline), ratio_at_most(0.1)});
    report.add({3, "8 processes: calls that failed", Unit::calls, static_cast<double>(all.failed),
                static_cast<double>(all.failed_of_baseline), ours_at_most(0)});
  }
  const ContendingSides all = alternate_processes(settings, pair, 64);
  const auto worst_over_median = [](const Side& side) {
    return side.worst() / side.latencies().p50;
  };
  report.add({3, "64 processes, one row, durable increment", Unit::per_second,
              all.sides.ours.calls_per_second(), all.sides.baseline.calls_per_second(),
              std::nullopt});
  report.add({3, "64 processes: worst latency", Unit::milliseconds, worst_in_ms(all.sides.ours),
              worst_in_ms(all.sides.baseline), std::nullopt});
  report.add({3, "64 processes: worst latency over the side's own median", Unit::times,
              worst_over_median(all.sides.ours), worst_over_median(all.sides.baseline),
              ours_at_most(20)});
  report.add({3, "64 processes: calls that failed", Unit::calls, static_cast<double>(all.failed),
              static_cast<double>(all.failed_of_baseline), ours_at_most(0)});
  report.add_latencies(3, "64 processes, one row, durable increment: ours", all.sides.ours);
  report.add_latencies(3, "64 processes, one row, durable increment: baseline", all.sides.baseline);
}

// ---- Reads

void measure_reads(const Settings& settings, Report& report) {
  const Pair pair(settings.directory);
  const CacheManager manager({.database = pair.ours()});
  Baseline baseline(pair.baseline(), Synchronous::full);
  const std::string hash = Pair::config_hash();
  const std::string now = format_timestamp(
      std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()));
  if (!manager.load_cluster_cache() || baseline.read_active_cluster(now) == 0 ||
      !manager.get_shared_cluster_info(hash) || baseline.read_entry(hash) == 0) {
    throw std::logic_error("there is nothing to read");
  }
  const auto measure = [&](const std::string& what, auto ours, auto theirs) {
    const Sides sides = alternate_shortly(
        settings, [&](Seconds time) { return run_short_calls_for(time, ours); },
        [&](Seconds time) { return run_short_calls_for(time, theirs); });
    add_throughput(report, 4, what, sides, ratio_at_least(0.8));
  };
  measure(
      "load_cluster_cache, against the bare statement",
      [&] { static_cast<void>(manager.load_cluster_cache()); },
      [&] { baseline.read_active_cluster(now); });
  measure(
      "get_shared_cluster_info, against the bare statement",
      [&] { static_cast<void>(manager.get_shared_cluster_info(hash)); },
      [&] { baseline.read_entry(hash); });
}

// ---- The log

void measure_replay(const Settings& settings, Report& report) {
  const std::string path =
      big_database(settings.directory, settings.replayed_events, settings.streams);
  CacheManager manager({.database = path});
  const auto events = static_cast<double>(settings.replayed_events);
  const auto timed = [&](auto pass) {
    const SteadyClock::time_point begin = SteadyClock::now();
    pass();
    const SteadyClock::duration time = SteadyClock::now() - begin;
    return Round{events / Seconds(time).count(), {time.count()}};
  };
  Side scan;
  Side check;
  Side rebuild;
  Scan size;
  const auto replay = [&](ReplayMode mode) {
    const ReplayReport found = manager.replay({.mode = mode});
    if (found.events != settings.replayed_events || !found.differences.empty()) {
      throw std::logic_error("the log and its tables are not right");
    }
  };
  for (int round = 0; round < settings.rounds; ++round) {
    scan.add(timed([&] { size = scan_log(path); }));
    check.add(timed([&] { replay(ReplayMode::check); }));
    rebuild.add(timed([&] { replay(ReplayMode::rebuild); }));
  }
  const auto add = [&](const std::string& what, const Side& side) {
    report.add({5, what, Unit::per_second, side.calls_per_second(), scan.calls_per_second(),
                ratio_at_least(0.25)});
  };
  add("replay, checked against the tables: events, against a bare scan", check);
  add("replay, tables written anew: events, against a bare scan", rebuild);
  const auto each = [&](std::int64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(size.events);
  };
  report.note(fmt::format(
      "Row 5: a log of {} events in {} streams; an event is {:.0f} bytes, of which {:.0f} are "
      "payload and metadata, and {:.0f} in the file.",
      size.events, settings.streams, each(size.bytes), each(size.text_bytes),
      each(static_cast<std::int64_t>(std::filesystem::file_size(path)))));

  const std::int64_t fewer = settings.many_events / 10;
  for (const std::string mode : {"check", "rebuild"}) {
    const auto largest_size = [&](std::int64_t of_events) {
      const std::string log = big_database(settings.directory, of_events, settings.streams);
      const auto numbers = Worker({"replay", log, mode}).finish();
      return static_cast<double>(numbers.at(0)) / 1024;
    };
    report.add({5,
                fmt::format("largest size of a replay ({}) at {} events, against {}", mode,
                            settings.many_events, fewer),
                Unit::mebibytes, largest_size(settings.many_events), largest_size(fewer),
                ratio_at_most(1.1)});
  }
}

void measure_growth(const Settings& settings, Report& report) {
  const std::string small = big_database(settings.directory, settings.few_events, settings.streams);
  const std::string large =
      big_database(settings.directory, settings.many_events, settings.streams);
  const auto measure = [&](const std::string& what, Durability durability, auto call) {
    CacheManager at_large({.database = large, .durability = durability});
    CacheManager at_small({.database = small, .durability = durability});
    std::int64_t number = 0;
    const auto run = [&](CacheManager& manager, Seconds time) {
      return run_for(time, [&] { call(manager, ++number); });
    };
    for (CacheManager* manager : {&at_large, &at_small}) call(*manager, ++number);  // opens it
    const Sides sides = alternate_shortly(
        settings, [&](Seconds time) { return run(at_large, time); },
        [&](Seconds time) { return run(at_small, time); });
    const auto mean = [](const Side& side) { return 1e6 / side.calls_per_second(); };
    report.add({6,
                fmt::format("{} at {} events, against {}", what, settings.many_events,
                            settings.few_events),
                Unit::microseconds, mean(sides.ours), mean(sides.baseline), ratio_at_most(1.25)});
    report.add_latencies(6, fmt::format("{}: {} events", what, settings.many_events), sides.ours);
    report.add_latencies(6, fmt::format("{}: {} events", what, settings.few_events),
                         sides.baseline);
  };
  const auto append = [&](CacheManager& manager, std::int64_t number) {
    const std::int64_t entries = settings.streams / 2;
    // Any stream but the one whose history is measured.
    manager.increment_shared_cluster_usage(config_hash_of(1 + number * 7919 % (entries - 1)));
  };
  measure("append (durable)", Durability::full, append);
  measure("append (relaxed)", Durability::relaxed, append);
  measure("history of one cluster", Durability::full, [](CacheManager& manager, std::int64_t) {
    if (manager.history({.subject = cluster_id_of(0)}).size() < 40) {
      throw std::logic_error("the history is not whole");
    }
  });
  measure("status", Durability::full, [](CacheManager& manager, std::int64_t) {
    static_cast<void>(manager.get_cache_statistics());
    static_cast<void>(manager.get_cached_cluster_info());
  });
}

// ---- Processes

void measure_start(const Settings& settings, Report& report) {
  const std::string large =
      big_database(settings.directory, settings.status_events, settings.streams);
  const Pair pair(settings.directory);
  const std::string program = program_directory() + "/dbcache";
  const auto status = [&](const std::string& path) {
    ::setenv("DBCACHE_DATABASE", path.c_str(), 1);
    const SteadyClock::time_point begin = SteadyClock::now();
    expect_success(spawn({program, "status"}), program);
    const Nanoseconds time = (SteadyClock::now() - begin).count();
    ::unsetenv("DBCACHE_DATABASE");
    return time;
  };
  Round at_large;
  Round at_small;
  for (int start = 0; start < settings.starts; ++start) {
    at_large.latencies.push_back(status(large));
    at_small.latencies.push_back(status(pair.ours()));
  }
  Sides sides;
  sides.ours.add(std::move(at_large));
  sides.baseline.add(std::move(at_small));
  report.add({7,
              fmt::format("dbcache status, whole process, at {} events, against a new database",
                          settings.status_events),
              Unit::milliseconds, sides.ours.latencies().p50 / 1000,
              sides.baseline.latencies().p50 / 1000, ours_at_most(10)});
  report.add_latencies(7, fmt::format("dbcache status at {} events", settings.status_events),
                       sides.ours);
  report.add_latencies(7, "dbcache status on a new database", sides.baseline);
}

void measure_waiting_memory(const Settings& settings, Report& report) {
  const Pair pair(settings.directory);
  const Worker creator({"create", pair.ours()});
  static_cast<void>(creator.get());
  const Worker waiter({"wait", pair.ours()});
  static_cast<void>(waiter.get());
  const Worker sleeper({"hold-baseline", pair.baseline(), Pair::config_hash()});
  static_cast<void>(sleeper.get());
  std::this_thread::sleep_for(std::chrono::seconds{1});
  report.add({8, "private memory of a waiting process, against one of the baseline's that sleeps",
              Unit::mebibytes, private_memory(waiter.pid()), private_memory(sleeper.pid()),
              ours_at_most(12)});
}

}  // namespace dbcache::bench
