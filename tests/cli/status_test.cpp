#include <sstream>

#include <gmock/gmock.h>

#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The output that the document shows for `status`.
constexpr const char* documented = R"(
=== Cache Statistics ===
  Total Clusters: 5
  Active Clusters: 1
  Expired Clusters: 4
  Total Accesses: 12
  Shared Clusters: 2
  Cache File Size: 8192 bytes

=== Active Cached Cluster ===
  Cluster ID: cluster-123
  Created At: 2024-01-15T10:30:00
  Expires At: 2024-01-15T11:30:00
  Is Valid: Yes
  Access Count: 3
  Is Shared: Yes
  Last Accessed: 2024-01-15T10:45:00
  Time Remaining: 45 minutes
)";

class StatusTest : public CliTest {
 protected:
  /// Five clusters, four of them expired, two shared, with twelve accesses.
  void make_the_documented_cache() {
    at("2024-01-15T08:00:00");
    must("cache cluster-1 --config -", R"({"is_shared": true})");
    for (int access = 0; access < 5; ++access) must("access cluster-1");
    for (const char* const id : {"cluster-2", "cluster-3", "cluster-4"}) {
      must(std::string("cache ") + id);
    }
    at("2024-01-15T10:30:00");
    must("cache cluster-123 --config -", R"({"is_shared": true})");
    must("access cluster-123");
    at("2024-01-15T10:45:00");
    must("access cluster-123");
  }
};

TEST_F(StatusTest, PrintsTheDocumentedSampleLineForLine) {
  make_the_documented_cache();
  const std::vector<std::string> expected = lines_of(documented);
  const std::vector<std::string> printed = lines_of(must("status"));
  ASSERT_EQ(printed.size(), expected.size());
  for (std::size_t at = 0; at < expected.size(); ++at) {
    if (expected[at].starts_with("  Cache File Size: ")) {
      EXPECT_THAT(printed[at], ::testing::MatchesRegex("  Cache File Size: [1-9][0-9]* bytes"));
    } else {
      EXPECT_EQ(printed[at], expected[at]);
    }
  }
}

TEST_F(StatusTest, Golden) {
  make_the_documented_cache();
  expect_golden("status", transcript({"status", "status --json"}));
}

TEST_F(StatusTest, MinutesAreFloored) {
  must("cache cluster-1");
  at("2024-01-15T10:30:01");
  EXPECT_THAT(must("status"), EndsWith("  Time Remaining: 59 minutes\n"));
}

TEST_F(StatusTest, OneMinuteIsSingular) {
  must("cache cluster-1");
  at("2024-01-15T11:28:30");
  EXPECT_THAT(must("status"), EndsWith("  Time Remaining: 1 minute\n"));
}

TEST_F(StatusTest, UnderAMinuteIsPrintedInWords) {
  must("cache cluster-1");
  at("2024-01-15T11:29:00.000001");
  EXPECT_THAT(must("status"), EndsWith("  Time Remaining: less than a minute\n"));
}

TEST_F(StatusTest, AnExpiredClusterIsShownAsExpired) {
  must("cache cluster-1");
  at("2024-01-15T11:30:00");
  const std::string printed = must("status");
  EXPECT_THAT(printed, HasSubstr("  Is Valid: No\n"));
  EXPECT_THAT(printed, EndsWith("  Time Remaining: expired\n"));
}

TEST_F(StatusTest, PrintsNoneWithoutAnActiveCluster) {
  must("cache cluster-1");
  must("remove cluster-1");
  EXPECT_THAT(must("status"), EndsWith("\n=== Active Cached Cluster ===\n  None\n"));
  EXPECT_THAT(must("status --json"), HasSubstr(R"("active_cluster":null)"));
}

TEST_F(StatusTest, AClusterFromTheEnvironmentIsMarked) {
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "0115-cluster");
  const std::string printed = must("status");
  EXPECT_THAT(printed, EndsWith("\n=== Active Cached Cluster ===\n"
                                "  Cluster ID: 0115-cluster (from DATABRICKS_CLUSTER_ID)\n"
                                "  Is Valid: Yes\n"));
  EXPECT_THAT(printed, Not(HasSubstr("Expires At")));
}

TEST_F(StatusTest, AMissingDatabasePrintsZeros) {
  expect_golden("status_no_database", transcript({"status", "status --json"}));
}

}  // namespace
}  // namespace dbcache::cli
