#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include "cli_test.hpp"
#include "support/python_database.hpp"

namespace dbcache::cli {
namespace {

class AdoptionTest : public CliTest {
 protected:
  static void make_python_database(const std::string& rows) {
    std::filesystem::create_directories(std::filesystem::path(database).parent_path());
    test::make_python_database(database, "delete", rows);
  }
};

TEST_F(AdoptionTest, AdoptionIsReportedOnceOnStderr) {
  make_python_database(R"(
    INSERT INTO clusters (cluster_id, cluster_name, num_workers, created_at, expiry_time,
                          last_accessed, access_count, is_active, is_shared) VALUES
      ('cluster-1', 'nightly', 2, '2024-01-15T09:30:00.250000', '2024-01-15T12:30:00.250000',
       '2024-01-15 08:40:00', 3, 1, 1),
      ('cluster-2', NULL, NULL, '2024-01-14 08:00:00', '2024-01-14T10:00:00', '2024-01-14 08:00:00',
       1, 0, 0);
    INSERT INTO shared_cluster_registry (config_hash, cluster_id, status, worker_pid,
                                         creation_time, usage_count) VALUES
      ('team-tests', 'cluster-1', 'ready', 99, '2024-01-15 08:30:00', 2);)");
  expect_golden("adoption", transcript({"list --adopt-timezone Europe/Berlin", "shared",
                                        "history cluster-1", "replay --check", "verify"}));
}

TEST_F(AdoptionTest, ChangedValuesAreReported) {
  make_python_database(R"(
    INSERT INTO clusters (cluster_id, num_workers, created_at, expiry_time, last_accessed) VALUES
      ('cluster-1', -3, '2024-01-15 08:00:00', 'soon', '2024-01-15 08:00:00');)");
  expect_golden("adoption_notes", transcript({"list --adopt-timezone UTC", "history cluster-1"}));
}

TEST_F(AdoptionTest, AdoptionIsReportedByACommandWithoutOutput) {
  make_python_database(
      "INSERT INTO shared_cluster_registry (config_hash, creation_time) VALUES"
      " ('team-tests', '2024-01-15T10:30:00')");
  const Result result = run("shared unknown --adopt-timezone +02:00");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err,
              ::testing::HasSubstr("dbcache: adopted 0 clusters and 1 registry entry from "));
}

}  // namespace
}  // namespace dbcache::cli
