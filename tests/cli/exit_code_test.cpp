#include <gmock/gmock.h>

#include "cli_test.hpp"
#include "support/raw_database.hpp"

namespace dbcache::cli {
namespace {

class ExitCodeTest : public CliTest {
 protected:
  int code(const std::string& line) { return run(line).code; }
};

TEST_F(ExitCodeTest, OneWhenTheAnswerIsNo) {
  must("cache cluster-1");
  EXPECT_EQ(code("access cluster-9"), 1);
  EXPECT_EQ(code("remove cluster-9"), 1);
  EXPECT_EQ(code("history cluster-9"), 1);
  EXPECT_EQ(code("can-join unknown"), 1);
  EXPECT_EQ(code("shared unknown"), 1);
  EXPECT_EQ(code("mark unknown failed"), 1);
  EXPECT_EQ(code("use unknown"), 1);
}

TEST_F(ExitCodeTest, OneForAClusterThatIsNoLongerActive) {
  must("cache cluster-1");
  must("cache cluster-2");
  EXPECT_EQ(code("access cluster-1"), 1);
}

TEST_F(ExitCodeTest, OneForARegistrationOfAFailedCreation) {
  must("register team-tests");
  must("mark team-tests failed");
  EXPECT_EQ(code("register team-tests"), 1);
}

TEST_F(ExitCodeTest, OneForDriftUntilItIsRepaired) {
  must("cache cluster-1");
  test::run_sql(database, "UPDATE clusters SET access_count = 7");
  EXPECT_EQ(code("replay --check"), 1);
  EXPECT_EQ(code("replay --check"), 1);
  EXPECT_EQ(code("replay"), 0);
  EXPECT_EQ(code("replay --check"), 0);
}

TEST_F(ExitCodeTest, OneForALogThatDoesNotBeginWithTheKeptHead) {
  must("cache cluster-1");
  EXPECT_EQ(code("verify"), 0);
  EXPECT_EQ(code("verify --head 1:" + std::string(64, '0')), 1);
}

TEST_F(ExitCodeTest, ZeroForATeardownThatRunsTwice) {
  must("register team-tests");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(code("unuse team-tests"), 0);
    EXPECT_EQ(code("cleanup-shared team-tests"), 0);
    EXPECT_EQ(code("cleanup"), 0);
    EXPECT_EQ(code("clear"), 0);
  }
}

TEST_F(ExitCodeTest, ThreeForWhatIsNotADatabase) {
  write_file("notes.txt", std::string(5000, 'x'));
  const Result result = run("status --database notes.txt");
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, ::testing::StartsWith("dbcache: "));
}

TEST_F(ExitCodeTest, ThreeForALockedDatabase) {
  must("cache cluster-1");
  SQLite::Database other = test::open_raw(database);
  other.exec("BEGIN IMMEDIATE");
  EXPECT_EQ(code("cache cluster-2 --busy-timeout 0.01"), 3);
  EXPECT_EQ(code("list"), 0);
}

TEST_F(ExitCodeTest, ThreeForADatabaseOfANewerVersion) {
  must("cache cluster-1");
  test::run_sql(database, "PRAGMA user_version = 999");
  EXPECT_EQ(code("status"), 3);
  EXPECT_EQ(code("cache cluster-2"), 3);
}

TEST_F(ExitCodeTest, ThreeForALogThatCannotBeReplayed) {
  must("cache cluster-1");
  test::run_sql(database, "DROP TRIGGER events_refuse_update; UPDATE events SET payload = '{}'");
  EXPECT_EQ(code("verify"), 1);
  EXPECT_EQ(code("replay"), 3);
}

TEST_F(ExitCodeTest, ThreeForADirectory) {
  std::filesystem::create_directory("folder");
  EXPECT_EQ(code("cache cluster-1 --database folder"), 3);
  EXPECT_EQ(code("status --database folder"), 3);
}

}  // namespace
}  // namespace dbcache::cli
