#include <chrono>
#include <filesystem>
#include <string>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <dbcache/dbcache.hpp>

#include "bench/baseline.hpp"
#include "bench/databases.hpp"

// What single calls cost in one process, and beside each what the same costs in a program written
// by hand with SQLite. Contention and growth are measured by dbcache_speed.
namespace {

using dbcache::bench::Baseline;
using dbcache::bench::Pair;

/// Databases of their own, removed at the end.
struct Databases {
  Databases()
      : directory(std::filesystem::temp_directory_path() /
                  ("dbcache-bench-" + std::to_string(::getpid()))),
        pair(directory) {}
  ~Databases() {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
  }
  Databases(const Databases&) = delete;
  Databases& operator=(const Databases&) = delete;

  const std::filesystem::path directory;
  const Pair pair;
};

const std::string hash = Pair::config_hash();

// ---- Changes

void increment(benchmark::State& state, dbcache::Durability durability) {
  const Databases databases;
  dbcache::CacheManager manager({.database = databases.pair.ours(), .durability = durability});
  for (auto _ : state) manager.increment_shared_cluster_usage(hash);
}
void increment_baseline(benchmark::State& state, Baseline::Synchronous synchronous) {
  const Databases databases;
  Baseline baseline(databases.pair.baseline(), synchronous);
  for (auto _ : state) baseline.increment(hash);
}
BENCHMARK_CAPTURE(increment, full, dbcache::Durability::full);
BENCHMARK_CAPTURE(increment_baseline, full, Baseline::Synchronous::full);
BENCHMARK_CAPTURE(increment, relaxed, dbcache::Durability::relaxed);
BENCHMARK_CAPTURE(increment_baseline, normal, Baseline::Synchronous::normal);

// ---- Reads

void load_cluster_cache(benchmark::State& state) {
  const Databases databases;
  const dbcache::CacheManager manager({.database = databases.pair.ours()});
  for (auto _ : state) benchmark::DoNotOptimize(manager.load_cluster_cache());
}
void load_cluster_cache_baseline(benchmark::State& state) {
  const Databases databases;
  Baseline baseline(databases.pair.baseline(), Baseline::Synchronous::full);
  const std::string now = dbcache::format_timestamp(
      std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()));
  for (auto _ : state) benchmark::DoNotOptimize(baseline.read_active_cluster(now));
}
BENCHMARK(load_cluster_cache);
BENCHMARK(load_cluster_cache_baseline);

void get_shared_cluster_info(benchmark::State& state) {
  const Databases databases;
  const dbcache::CacheManager manager({.database = databases.pair.ours()});
  for (auto _ : state) benchmark::DoNotOptimize(manager.get_shared_cluster_info(hash));
}
void get_shared_cluster_info_baseline(benchmark::State& state) {
  const Databases databases;
  Baseline baseline(databases.pair.baseline(), Baseline::Synchronous::full);
  for (auto _ : state) benchmark::DoNotOptimize(baseline.read_entry(hash));
}
BENCHMARK(get_shared_cluster_info);
BENCHMARK(get_shared_cluster_info_baseline);

}  // namespace
