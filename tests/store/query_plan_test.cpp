#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "store/sqlite/sqlite_rows.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

// What a step on a lease asks is answered by index: SQLite passes over no table, however it is
// filled.
namespace dbcache::store {
namespace {

using sqlite::LeaseStatements;

/// The steps of a plan that pass over a whole table.
std::vector<std::string> passes(const std::string& path, const std::string& sql) {
  SQLite::Database database = test::open_raw(path);
  SQLite::Statement plan(database, "EXPLAIN QUERY PLAN " + sql);
  std::vector<std::string> passes;
  while (plan.executeStep()) {
    std::string step = plan.getColumn("detail").getString();
    // These indexes have only the rows that are asked for.
    if (step.starts_with("SCAN") &&
        step.find("USING INDEX idx_terminations_") == std::string::npos) {
      passes.push_back(std::move(step));
    }
  }
  return passes;
}

TEST(QueryPlan, OfAStepPassesOverNoTable) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string path = (directory.path() / "cache.db").string();
  CacheManager manager({.database = path});
  manager.create_database();
  const std::vector<std::string> questions{LeaseStatements::leases_of(),
                                           LeaseStatements::leases_on(),
                                           LeaseStatements::participants_of(),
                                           LeaseStatements::leases_after(),
                                           LeaseStatements::participants_after(),
                                           LeaseStatements::count_leases_of(),
                                           LeaseStatements::entries_naming(),
                                           LeaseStatements::shares_naming(),
                                           LeaseStatements::active_clusters(),
                                           LeaseStatements::active_cluster(),
                                           LeaseStatements::terminations_of(),
                                           LeaseStatements::waiting_terminations(),
                                           LeaseStatements::waiting_terminations_of_host(),
                                           LeaseStatements::waiting_terminations_without_host(),
                                           LeaseStatements::busy_shares_after(),
                                           LeaseStatements::expired_configurations()};

  for (const std::string& sql : questions) {
    EXPECT_THAT(passes(path, sql), ::testing::IsEmpty()) << sql;
  }
  // What ANALYZE has seen may change plans.
  for (int number = 0; number < 300; ++number) {
    manager.cache_new_cluster("c-" + std::to_string(number));
  }
  SharedClusters clusters({.database = path, .durability = Durability::relaxed});
  std::vector<ClusterLease> leases;
  std::vector<RunMembership> members;
  for (int number = 0; number < 200; ++number) {
    const std::string name = "of-" + std::to_string(number);
    leases.push_back(clusters.acquire(
        {{"cluster_name", name}},
        {.create = [&](const ClusterConfig&, Creation&) { return "shared-" + name; }},
        {.policy = HandBackPolicy::hand_back}));
    members.push_back(clusters.join_run("nightly", name));
    if (number % 2 == 0) leases.back().release();
  }
  manager.optimize_database();
  for (const std::string& sql : questions) {
    EXPECT_THAT(passes(path, sql), ::testing::IsEmpty()) << sql << " after ANALYZE";
  }
}

}  // namespace
}  // namespace dbcache::store
