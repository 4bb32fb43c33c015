#include "bench/databases.hpp"

#include <iostream>
#include <unistd.h>

#include <fmt/format.h>

#include <dbcache/dbcache.hpp>

#include "bench/baseline.hpp"
#include "bench/big_log.hpp"
#include "bench/worker.hpp"

namespace dbcache::bench {
namespace {

/// A test fleet's worth of both tables.
constexpr std::int64_t clusters = 10;

void fill(const std::string& path) {
  CacheManager manager({.database = path});
  for (std::int64_t number = 0; number < clusters; ++number) {
    const std::string hash = config_hash_of(number);
    manager.cache_new_cluster(cluster_id_of(number),
                              {{"cluster_name", fmt::format("integration-tests-{}", number)},
                               {"host", "https://workspace.cloud.databricks.com"},
                               {"num_workers", 2},
                               {"is_shared", true}});
    manager.register_shared_cluster_creation(hash, ::getpid());
    manager.update_shared_cluster_status(hash, RegistryStatus::ready,
                                         {.cluster_id = cluster_id_of(number)});
    manager.increment_shared_cluster_usage(hash);
  }
}

}  // namespace

Pair::Pair(const std::filesystem::path& directory) : directory_(directory / "pair") {
  std::filesystem::create_directories(directory_);
  fill(ours());
  Baseline::copy(ours(), baseline());
}

Pair::~Pair() {
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

std::string Pair::config_hash() { return config_hash_of(0); }

std::string big_database(const std::filesystem::path& directory, std::int64_t events,
                         std::int64_t streams) {
  const std::string path = (directory / fmt::format("log-{}.db", events)).string();
  if (std::filesystem::exists(path)) return path;
  std::cerr << fmt::format("making a log of {} events ...\n", events);
  const std::string program = program_directory() + "/dbcache_big_log";
  expect_success(spawn({program, path, std::to_string(events), std::to_string(streams)}), program);
  Worker({"replay", path, "rebuild"}).finish();
  ::sync();  // else its pages are written while others are measured
  return path;
}

}  // namespace dbcache::bench
