#include <gmock/gmock.h>

#include "cli_test.hpp"
#include "support/raw_database.hpp"

// What each command prints, as text and as JSON, against golden files. To change an output on
// purpose, record it with DBCACHE_UPDATE_GOLDEN=1 and read the difference.
namespace dbcache::cli {
namespace {

constexpr const char* config = R"({
  "cluster_name": "test-cluster", "host": "https://workspace.cloud.databricks.com",
  "node_type_id": "m5.large", "spark_version": "13.3.x-scala2.12", "num_workers": 1,
  "is_shared": true})";

class CommandsTest : public CliTest {
 protected:
  void a_shared_cluster() {
    must("register team-tests --pid 100 --label creator");
    at("2024-01-15T10:34:00");
    must("cache cluster-123 --label creator --config -", config);
    must("mark team-tests ready --cluster-id cluster-123 --label creator");
  }
};

TEST_F(CommandsTest, List) {
  at("2024-01-15T08:00:00");
  must("cache cluster-old");
  a_shared_cluster();
  expect_golden("list", transcript({"list", "list --active", "list --expired", "list --shared",
                                    "list --active --expired", "list --json"}));
}

TEST_F(CommandsTest, Cleanup) {
  at("2024-01-15T08:00:00");
  must("cache cluster-1");
  must("cache cluster-2");
  at("2024-01-15T10:30:00");
  must("cache cluster-3");
  expect_golden("cleanup", transcript({"cleanup", "cleanup --json"}));
}

TEST_F(CommandsTest, Clear) {
  a_shared_cluster();
  must("cache cluster-2");
  expect_golden("clear", transcript({"clear", "clear --json"}));
}

TEST_F(CommandsTest, ClearListsAtMostTwentyClusters) {
  for (int cluster = 10; cluster < 35; ++cluster) must("cache cluster-" + std::to_string(cluster));
  EXPECT_THAT(must("clear"), ::testing::HasSubstr("  Cluster: cluster-15\n  ... and 5 more\n"));
}

TEST_F(CommandsTest, Shared) {
  must("register nightly --pid 99");
  must("mark nightly failed --error 'no capacity in eu-west-1'");
  a_shared_cluster();
  must("use team-tests");
  expect_golden("shared",
                transcript({"shared", "shared team-tests", "shared unknown", "shared --json",
                            "shared nightly --json", "shared unknown --json"}));
}

TEST_F(CommandsTest, CleanupShared) {
  must("register nightly --pid 99");
  must("register weekly --pid 99");
  must("mark weekly ready --cluster-id cluster-9");
  a_shared_cluster();
  expect_golden("cleanup-shared",
                transcript({"cleanup-shared weekly", "cleanup-shared weekly", "cleanup-shared",
                            "cleanup-shared weekly --json", "cleanup-shared --json"}));
}

TEST_F(CommandsTest, Dbinfo) {
  must("cache cluster-123");
  expect_golden("dbinfo", transcript({"dbinfo", "dbinfo --json"}));
}

TEST_F(CommandsTest, Init) {
  expect_golden("init", transcript({"init", "init", "init --json", "dbinfo"}));
}

TEST_F(CommandsTest, Optimize) {
  must("cache cluster-123");
  expect_golden("optimize", transcript({"optimize", "optimize --vacuum", "optimize --json"}));
}

TEST_F(CommandsTest, HistoryOfACluster) {
  a_shared_cluster();
  at("2024-01-15T10:40:00");
  must("access cluster-123 --label 'test_jobs.py::test_one'");
  must("use team-tests");
  at("2024-01-15T10:45:00");
  must("cache cluster-124");
  must("unuse team-tests");
  at("2024-01-15T12:00:00");
  must("cleanup");
  must("cleanup-shared team-tests");
  expect_golden("history", transcript({"history cluster-123", "history team-tests",
                                       "history cluster-123 --json"}));
}

TEST_F(CommandsTest, HistoryFilters) {
  a_shared_cluster();
  at("2024-01-15T10:40:00");
  must("access cluster-123");
  at("2024-01-15T10:45:00");
  must("access cluster-123");
  must("remove cluster-123");
  expect_golden("history_filters",
                transcript({"history --type ClusterAccessed --type ClusterRemoved",
                            "history --since 2024-01-15T10:40 --until 2024-01-15T10:45",
                            "history --since 2024-01-15T11:40+01:00 --limit 1",
                            "history cluster-123 --reverse --limit 2",
                            "history cluster-123 --type UsageIncremented", "history cluster-124",
                            "history cluster-124 --json"}));
}

TEST_F(CommandsTest, Replay) {
  a_shared_cluster();
  must("cache cluster-124");
  must("register nightly --pid 99");
  const std::string clean = transcript({"replay --check", "replay --check --json"});
  test::run_sql(
      database,
      "UPDATE clusters SET access_count = 7, cluster_name = NULL WHERE cluster_id = 'cluster-123';"
      "DELETE FROM clusters WHERE cluster_id = 'cluster-124';"
      "UPDATE shared_cluster_registry SET cluster_id = 'cluster-9' WHERE config_hash = 'nightly';"
      "INSERT INTO shared_cluster_registry (config_hash, creation_time) VALUES"
      " ('by-hand', '2024-01-15 10:30:00');");
  expect_golden("replay", clean + '\n' +
                              transcript({"replay --check", "replay --check --json", "replay",
                                          "replay --check", "replay --json"}));
}

TEST_F(CommandsTest, Verify) {
  a_shared_cluster();
  const std::string json = must("verify --json");
  const std::string head = json.substr(json.find("\"head\":\"") + 8, 66);
  const std::string clean = transcript({"verify", "verify --json", "verify --head " + head});
  // As someone would who covers his traces.
  test::drop_triggers(database);
  test::run_sql(
      database,
      "UPDATE events SET payload = replace(payload, 'm5.large', 'm5.huge') WHERE position = 2;");
  const std::string altered = transcript({"verify", "verify --json", "replay --check"});
  test::run_sql(database, "DELETE FROM events");
  expect_golden("verify",
                clean + '\n' + altered + '\n' + transcript({"verify", "verify --head " + head}));
}

TEST_F(CommandsTest, Cache) {
  write_file("cluster.json", config);
  expect_golden("cache", transcript({"cache cluster-123 --config cluster.json",
                                     "cache cluster-124 --expiry-hours 0.25",
                                     "cache cluster-125 --config cluster.json --json"}));
}

TEST_F(CommandsTest, Access) {
  must("cache cluster-123");
  expect_golden("access", transcript({"access cluster-123", "access cluster-123 --json",
                                      "access cluster-9", "access cluster-9 --json"}));
}

TEST_F(CommandsTest, Remove) {
  must("cache cluster-123");
  must("cache cluster-124");
  expect_golden("remove", transcript({"remove cluster-123", "remove cluster-124 --json",
                                      "remove cluster-123", "remove cluster-123 --json"}));
}

TEST_F(CommandsTest, Register) {
  const std::string first = transcript({"register team-tests", "register team-tests --json"});
  must("mark team-tests ready --cluster-id cluster-123");
  const std::string ready = transcript({"register team-tests"});
  must("mark team-tests failed --error 'no capacity in eu-west-1'");
  expect_golden("register", first + '\n' + ready + '\n' +
                                transcript({"register team-tests", "register team-tests --json",
                                            "register nightly --pid 99 --json"}));
}

TEST_F(CommandsTest, CanJoin) {
  must("register team-tests");
  expect_golden("can-join", transcript({"can-join team-tests", "can-join team-tests --json",
                                        "can-join unknown", "can-join unknown --json"}));
}

TEST_F(CommandsTest, Mark) {
  must("register team-tests");
  expect_golden(
      "mark",
      transcript({"mark team-tests failed --error 'no capacity' --json", "mark team-tests creating",
                  "mark team-tests ready --cluster-id cluster-123 --json", "mark unknown failed"}));
}

TEST_F(CommandsTest, UseAndUnuse) {
  must("register team-tests");
  expect_golden("use", transcript({"use team-tests", "use team-tests --json", "use unknown",
                                   "use unknown --json"}));
  expect_golden("unuse", transcript({"unuse team-tests", "unuse team-tests --json",
                                     "unuse team-tests", "unuse team-tests", "unuse unknown"}));
}

TEST_F(CommandsTest, HashOfAFileAndOfStdinEqualsTheLibrarys) {
  write_file("cluster.json", config);
  const std::string from_file = must("hash --config cluster.json");
  EXPECT_THAT(from_file, ::testing::MatchesRegex("[0-9a-f]+\n"));
  EXPECT_EQ(from_file.size(), 65U);
  EXPECT_EQ(must("hash --config -", config), from_file);
  EXPECT_EQ(must("hash", config), from_file);
  EXPECT_EQ(must("hash --json", config), R"({"config_hash":")" + from_file.substr(0, 64) + "\"}\n");
}

TEST_F(CommandsTest, HashLeavesOutTheKeysGiven) {
  const std::string plain = must("hash", R"({"num_workers": 1})");
  EXPECT_NE(must("hash", R"({"num_workers": 1, "cluster_name": "a", "x": 2})"), plain);
  EXPECT_EQ(must("hash --leave-out cluster_name --leave-out x",
                 R"({"num_workers": 1, "cluster_name": "a", "x": 2})"),
            plain);
}

TEST_F(CommandsTest, RegisterUsesTheParentPidByDefault) {
  must("register team-tests");
  EXPECT_THAT(must("shared team-tests"), ::testing::HasSubstr("  Worker PID: 4711\n"));
}

}  // namespace
}  // namespace dbcache::cli
