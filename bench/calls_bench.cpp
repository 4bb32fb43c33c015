#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <dbcache/dbcache.hpp>

// What single calls cost in one process. Contention and growth are measured beside a hand-written
// baseline, not here.
namespace {

/// A database of its own, removed afterwards.
class Database {
 public:
  explicit Database(dbcache::Durability durability)
      : directory_(std::filesystem::temp_directory_path() /
                   ("dbcache-bench-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(directory_);
    dbcache::Options options;
    options.database = (directory_ / "cache.db").string();
    options.durability = durability;
    manager = std::make_unique<dbcache::CacheManager>(options);
    manager->cache_new_cluster("cluster-1", {{"cluster_name", "bench"}});
    manager->register_shared_cluster_creation("hash-1", ::getpid());
  }
  ~Database() {
    manager.reset();
    std::error_code error;
    std::filesystem::remove_all(directory_, error);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  std::unique_ptr<dbcache::CacheManager> manager;

 private:
  std::filesystem::path directory_;
};

void increment(benchmark::State& state, dbcache::Durability durability) {
  const Database database(durability);
  for (auto _ : state) database.manager->increment_shared_cluster_usage("hash-1");
}
BENCHMARK_CAPTURE(increment, full, dbcache::Durability::full);
BENCHMARK_CAPTURE(increment, relaxed, dbcache::Durability::relaxed);

void load_cluster_cache(benchmark::State& state) {
  const Database database(dbcache::Durability::full);
  for (auto _ : state) benchmark::DoNotOptimize(database.manager->load_cluster_cache());
}
BENCHMARK(load_cluster_cache);

void get_shared_cluster_info(benchmark::State& state) {
  const Database database(dbcache::Durability::full);
  for (auto _ : state) {
    benchmark::DoNotOptimize(database.manager->get_shared_cluster_info("hash-1"));
  }
}
BENCHMARK(get_shared_cluster_info);

}  // namespace
