#include <gmock/gmock.h>

#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class RemovalTest : public CliTest {
 protected:
  RemovalTest() {
    must("cache cluster-1");
    must("cache cluster-2");
    must("register team-tests --pid 99");
  }
  std::size_t clusters_left() {
    const std::string rows = must("list --json");
    std::size_t count = 0;
    for (auto at = rows.find("\"cluster_id\""); at != std::string::npos;
         at = rows.find("\"cluster_id\"", at + 1)) {
      ++count;
    }
    return count;
  }
};

TEST_F(RemovalTest, OnATerminalItListsTheRemovalsAndAsks) {
  const Result result = run("clear", "y\n", Seat::terminal);
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out,
            "\n=== Clear Cluster Cache ===\n"
            "  Cluster: cluster-2, active\n"
            "  Cluster: cluster-1\n"
            "Remove 2 clusters? [y/N]   Removed Clusters: 2\n");
  EXPECT_EQ(clusters_left(), 0U);
}

TEST_F(RemovalTest, AnythingButYesRemovesNothing) {
  for (const char* const answer : {"n\n", "\n", "", "yesterday\n", "Y es\n"}) {
    const Result result = run("clear", answer, Seat::terminal);
    EXPECT_EQ(result.code, 1) << answer;
    EXPECT_THAT(result.out, EndsWith("  Removed Clusters: 0\n")) << answer;
    EXPECT_EQ(clusters_left(), 2U) << answer;
  }
}

TEST_F(RemovalTest, OneClusterIsSingular) {
  must("remove cluster-2");
  EXPECT_THAT(run("clear", "n\n", Seat::terminal).out, HasSubstr("Remove 1 cluster? [y/N] "));
  EXPECT_THAT(run("cleanup-shared", "n\n", Seat::terminal).out,
              HasSubstr("Remove 1 entry? [y/N] "));
}

TEST_F(RemovalTest, YesSkipsTheQuestion) {
  const Result result = run("clear --yes", "", Seat::terminal);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, Not(HasSubstr("[y/N]")));
  EXPECT_EQ(clusters_left(), 0U);
}

TEST_F(RemovalTest, WithoutATerminalItGoesAhead) {
  EXPECT_THAT(must("clear"), Not(HasSubstr("[y/N]")));
  EXPECT_EQ(clusters_left(), 0U);
}

TEST_F(RemovalTest, ItDoesNotAskIfThereIsNothingToRemove) {
  must("clear");
  const Result result = run("clear", "", Seat::terminal);
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "\n=== Clear Cluster Cache ===\n  Removed Clusters: 0\n");
}

TEST_F(RemovalTest, TheRegistryAsksToo) {
  EXPECT_EQ(run("cleanup-shared", "n\n", Seat::terminal).code, 1);
  EXPECT_EQ(run("cleanup-shared team-tests", "n\n", Seat::terminal).code, 1);
  EXPECT_THAT(must("shared"), HasSubstr("team-tests"));
  EXPECT_EQ(run("cleanup-shared team-tests", "y\n", Seat::terminal).code, 0);
  EXPECT_THAT(must("shared"), Not(HasSubstr("team-tests")));
}

TEST_F(RemovalTest, WithJsonTheQuestionGoesToStderr) {
  const Result result = run("clear --json", "n\n", Seat::terminal);
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "{\"removed\":0}\n");
  EXPECT_THAT(result.err, HasSubstr("Remove 2 clusters? [y/N] "));
}

TEST_F(RemovalTest, CleanupDoesNotAskAndKeepsValidClusters) {
  at("2024-01-15T12:00:00");
  must("cache cluster-3");
  EXPECT_EQ(run("cleanup", "n\n", Seat::terminal).code, 0);
  EXPECT_EQ(clusters_left(), 1U);
}

}  // namespace
}  // namespace dbcache::cli
