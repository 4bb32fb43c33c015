#include <csignal>
#include <fstream>
#include <string>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "lease_test.hpp"

// `dbcache watch`: what is there, then what comes, until it is told to end.
namespace dbcache::cli {
namespace {

class WatchTest : public LeaseTest {
 protected:
  WatchTest() { make_fifo("watched"); }

  static test::ChildProcess watch(const std::string& options) {
    return start("\"$dbcache\" watch " + options + " >watched 2>err.txt");
  }
  /// The type of the next event that is printed as JSON.
  static std::string next_type(std::istream& lines) {
    std::string line;
    std::getline(lines, line);
    return std::string(boost::json::parse(line).at("type").as_string());
  }
};

TEST_F(WatchTest, PrintsPastEventsAndThenNewOnes) {
  dbcache("cache cluster-1");
  test::ChildProcess watching = watch("--json --from 1");
  std::ifstream lines("watched");
  EXPECT_EQ(next_type(lines), "ClusterCached");
  dbcache("access cluster-1");
  EXPECT_EQ(next_type(lines), "ClusterAccessed");
  dbcache("remove cluster-1");
  EXPECT_EQ(next_type(lines), "ClusterRemoved");
  watching.kill(SIGINT);
  EXPECT_EQ(watching.wait(), 0);
  EXPECT_EQ(test::read_bytes("err.txt"), "");
}

TEST_F(WatchTest, StartsWithTheGivenEvent) {
  dbcache("cache cluster-1");
  dbcache("access cluster-1");
  test::ChildProcess watching = watch("--json --from 2");
  std::ifstream lines("watched");
  EXPECT_EQ(next_type(lines), "ClusterAccessed");
  watching.kill(SIGTERM);
  EXPECT_EQ(watching.wait(), 0);
}

TEST_F(WatchTest, WaitsForAMissingDatabaseAndCreatesNone) {
  test::ChildProcess watching = watch("--json --from 1");
  std::ifstream lines("watched");
  EXPECT_FALSE(database_exists());
  dbcache("cache cluster-1");
  EXPECT_EQ(next_type(lines), "ClusterCached");
  watching.kill(SIGINT);
  EXPECT_EQ(watching.wait(), 0);
}

TEST_F(WatchTest, PrintsEventsLikeHistory) {
  dbcache("cache cluster-1");
  test::ChildProcess watching = watch("--from 1");
  std::ifstream lines("watched");
  std::string line;
  std::getline(lines, line);
  EXPECT_THAT(line, testing::AllOf(testing::StartsWith("#1  "), testing::HasSubstr("ClusterCached"),
                                   testing::HasSubstr("cluster-cluster-1")));
  watching.kill(SIGINT);
  EXPECT_EQ(watching.wait(), 0);
}

TEST_F(WatchTest, RefusesAnInvalidPosition) {
  EXPECT_EQ(dbcache("watch --from 0").code, 2);
  EXPECT_EQ(dbcache("watch --from x").code, 2);
}

}  // namespace
}  // namespace dbcache::cli
