#include "bench/roles.hpp"

#include <csignal>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>
#include <unistd.h>

#include <sys/prctl.h>

#include <dbcache/dbcache.hpp>

#include "bench/baseline.hpp"
#include "bench/contention.hpp"
#include "bench/measure.hpp"

namespace dbcache::bench {
namespace {

using Words = std::vector<std::string>;

[[noreturn]] void stay() {
  for (;;) ::pause();
}

void play_contend(const Words& words) {
  const std::string& database = words.at(2);
  const std::string& hash = words.at(3);
  const std::chrono::milliseconds time(std::stoll(words.at(4)));
  if (words.at(1) == "ours") {
    CacheManager manager({.database = database});
    contend(time, [&] { manager.increment_shared_cluster_usage(hash); });
  } else {
    Baseline baseline(database, Baseline::Synchronous::full);
    contend(time, [&] { baseline.increment(hash); });
  }
}

/// VmHWM, which unlike getrusage(2) begins anew with a program.
std::int64_t largest_size() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t size = 0;
    if (word == "VmHWM:" && status >> size) return size;
  }
  throw std::runtime_error("/proc/self/status does not tell how large this process is");
}

void play_replay(const Words& words) {
  CacheManager manager({.database = words.at(1)});
  const SteadyClock::time_point begin = SteadyClock::now();
  const ReplayReport report =
      manager.replay({.mode = words.at(2) == "check" ? ReplayMode::check : ReplayMode::rebuild});
  const Nanoseconds time = (SteadyClock::now() - begin).count();
  say({largest_size(), time, static_cast<std::int64_t>(report.differences.size())});
}

const ClusterConfig& awaited_config() {
  static const ClusterConfig config{{"cluster_name", "awaited"}};
  return config;
}

void play_create(const Words& words) {
  SharedClusters clusters({.database = words.at(1)});
  clusters.acquire(awaited_config(), {.create = [](const ClusterConfig&, Creation&) -> std::string {
                     say({1});
                     stay();
                   }});
}

void play_wait(const Words& words) {
  bool told = false;
  AcquireOptions options;
  options.on_wait = [&](const WaitProgress&) {
    if (!told) say({1});
    told = true;
  };
  SharedClusters clusters({.database = words.at(1)});
  clusters.acquire(awaited_config(), {.create = [](const ClusterConfig&, Creation&) -> std::string {
                     throw std::logic_error("another creates it");
                   }},
                   options);
}

void play_hold_baseline(const Words& words) {
  Baseline baseline(words.at(1), Baseline::Synchronous::full);
  baseline.increment(words.at(2));
  say({1});
  stay();
}

}  // namespace

int play(const Words& role) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::map<std::string, std::function<void(const Words&)>> roles{
      {"contend", play_contend},
      {"replay", play_replay},
      {"create", play_create},
      {"wait", play_wait},
      {"hold-baseline", play_hold_baseline}};
  roles.at(role.at(0))(role);
  return 0;
}

}  // namespace dbcache::bench
