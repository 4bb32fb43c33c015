#include <algorithm>

#include <gmock/gmock.h>

#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class UsageTest : public CliTest {
 protected:
  void expect_usage_error(const std::string& line, const std::string& what,
                          const std::string& help) {
    const Result result = run(line);
    EXPECT_EQ(result.code, 2) << line;
    EXPECT_EQ(result.out, "") << line;
    EXPECT_THAT(result.err, AllOf(StartsWith("dbcache: "), HasSubstr(what))) << line;
    EXPECT_THAT(result.err, EndsWith("see dbcache " + help + "\n")) << line;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
};

TEST_F(UsageTest, WithoutACommandTheHelpGoesToStderr) {
  const Result result = run("");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, must("--help"));
}

TEST_F(UsageTest, AnUnknownCommandIsNamed) {
  expect_usage_error("frobnicate", "there is no command 'frobnicate'", "--help");
}

TEST_F(UsageTest, AnUnknownOptionIsNamed) {
  expect_usage_error("list --all", "--all", "list --help");
  expect_usage_error("--all", "--all", "--help");
}

TEST_F(UsageTest, AMissingArgumentIsNamed) {
  expect_usage_error("remove", "ID is required", "remove --help");
  expect_usage_error("mark team-tests", "STATUS is required", "mark --help");
}

TEST_F(UsageTest, AnExtraArgumentIsNamed) {
  expect_usage_error("remove cluster-1 cluster-2", "cluster-2", "remove --help");
  expect_usage_error("status list", "list", "status --help");
}

TEST_F(UsageTest, AnOptionWithoutItsValueIsNamed) {
  expect_usage_error("history --limit", "--limit", "history --help");
}

TEST_F(UsageTest, AValueThatIsNoNumberIsNamed) {
  expect_usage_error("register team-tests --pid abc", "'abc' is not a whole number",
                     "register --help");
  expect_usage_error("register team-tests --pid 4711x", "'4711x'", "register --help");
  expect_usage_error("register team-tests --pid 99999999999999999999", "'99999999999999999999'",
                     "register --help");
  expect_usage_error("cache cluster-1 --expiry-hours soon", "'soon'", "cache --help");
  expect_usage_error("status --busy-timeout never", "'never'", "status --help");
  expect_usage_error("status --busy-timeout -1", "-1 is out of range", "status --help");
  expect_usage_error("status --busy-timeout nan", "nan is out of range", "status --help");
}

TEST_F(UsageTest, AnEmptyDatabasePathIsRefused) {
  expect_usage_error("clear --database ''", "--database: the path is empty", "clear --help");
}

TEST_F(UsageTest, AnUnknownLogLevelIsNamed) {
  expect_usage_error("status --log-level chatty", "chatty", "status --help");
}

TEST_F(UsageTest, GlobalOptionsMayPrecedeOrFollowTheCommand) {
  must("--database other.db cache cluster-1");
  EXPECT_THAT(must("list --database other.db --json"), HasSubstr("cluster-1"));
  EXPECT_THAT(must("--json list --database=other.db"), HasSubstr("cluster-1"));
  EXPECT_FALSE(std::filesystem::exists(database));
}

TEST_F(UsageTest, AnArgumentMayHaveTheNameOfACommand) {
  must("cache list");
  must("access list");
  EXPECT_THAT(must("history list"), HasSubstr("cluster-list"));
  must("remove list");
}

TEST_F(UsageTest, IdsWithDashesFollowTwoDashes) {
  must("cache -- -x");
  must("access -- -x");
  must("cache --expiry-hours 2 -- --json");
  must("access -- --json");
}

TEST_F(UsageTest, SpecialWordsArriveUnchanged) {
  for (const char* const id : {"{}", "[a,b]", "%%", "++", "a=b", "-", "'", "\\", "true", "a,b"}) {
    const std::string words = std::string("register -- ") + id;
    ASSERT_EQ(run_words({"register", "--", id}).code, 0) << words;
    EXPECT_EQ(run_words({"use", "--", id}).code, 0) << words;
    EXPECT_EQ(run_words({"unuse", "--", id}).code, 0) << words;
  }
}

TEST_F(UsageTest, RepeatableOptionsTakeOneValueEach) {
  must("cache cluster-1");
  EXPECT_THAT(must("history --type ClusterCached cluster-1"), HasSubstr("ClusterCached"));
  EXPECT_EQ(must("hash --leave-out [a,b] --config -", R"({"[a,b]": 1})"), must("hash", "{}"));
}

TEST_F(UsageTest, TheVersionIsTheProjects) {
  EXPECT_EQ(must("--version"), "dbcache 0.1.0\n");
  EXPECT_EQ(must("status --version"), "dbcache 0.1.0\n");
}

TEST_F(UsageTest, TheDatabaseOptionOverridesTheEnvironment) {
  {
    const test::ScopedVariable path("DBCACHE_DATABASE", "from-environment.db");
    must("cache cluster-1");
    must("cache cluster-2 --database from-option.db");
  }
  EXPECT_THAT(must("list --json --database from-environment.db"), HasSubstr("cluster-1"));
  EXPECT_THAT(must("list --json --database from-option.db"), HasSubstr("cluster-2"));
}

TEST_F(UsageTest, TheLabelGoesIntoTheLog) {
  must("cache cluster-1 --label nightly");
  EXPECT_THAT(must("history cluster-1"), HasSubstr(", label nightly\n"));
}

}  // namespace
}  // namespace dbcache::cli
