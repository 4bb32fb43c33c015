#include <gmock/gmock.h>

#include "cli_test.hpp"
#include "support/raw_database.hpp"

namespace dbcache::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string from_here = "move --from Environment/Databricks/cluster_cache.db";

class MoveTest : public CliTest {
 protected:
  MoveTest() { must("cache cluster-1"); }

  /// As a move that was killed leaves it.
  static void close_by_hand() {
    test::run_sql(database, "UPDATE log_state SET closed = 'away', other = '" +
                                (std::filesystem::current_path() / "moved.db").string() +
                                "'; CREATE TRIGGER events_closed BEFORE INSERT ON events "
                                "BEGIN SELECT RAISE(ABORT, 'closed'); END");
  }
};

TEST_F(MoveTest, TheOldDatabaseNamesTheNewOne) {
  expect_golden(
      "move", transcript({from_here + " --to moved.db", from_here + " --to moved.db",
                          from_here + " --to elsewhere.db", "access cluster-1", "status", "dbinfo",
                          "dbinfo --json", "verify", "--database moved.db access cluster-1",
                          "--database moved.db verify"}));
}

TEST_F(MoveTest, Json) {
  expect_golden("move_json", transcript({from_here + " --to moved.db --json",
                                         from_here + " --to moved.db --json",
                                         "--json move --from moved.db --cancel"}));
}

TEST_F(MoveTest, AnInterruptedMoveIsResumedOrCancelled) {
  close_by_hand();
  expect_golden("move_interrupted",
                transcript({"access cluster-1", from_here + " --to elsewhere.db",
                            from_here + " --cancel", "access cluster-1", from_here + " --cancel"}));
  close_by_hand();
  must(from_here + " --to moved.db");
  EXPECT_EQ(run(from_here + " --cancel").code, 3);
}

TEST_F(MoveTest, AMoveIsRefusedWhileAProcessHoldsSomething) {
  must("register h --pid " + std::to_string(::getpid()));
  const Result result = run(from_here + " --to moved.db");
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("is in use: the creation of 'h' (pid "));
  EXPECT_THAT(run("dbinfo").out, Not(HasSubstr("Note")));
}

TEST_F(MoveTest, WrongUsage) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"move", "--from", database},
        {"move", "--to", "moved.db"},
        {"move", "--from", database, "--to", "moved.db", "--cancel"},
        {"move", "--from", "", "--to", "moved.db"},
        {"move", "--from", database, "--to", ""},
        {"move", "--from", database, "--to", "moved.db", "--to-schema", ""},
        {"--database", database, "move", "--from", database, "--to", "moved.db"},
        {"move", "--from", database, "--to", database}}) {
    const Result result = run_words(words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_NE(result.err, "");
  }
  EXPECT_EQ(run("move --from missing.db --to moved.db").code, 1);
  EXPECT_EQ(run("move --from missing.db --cancel").code, 1);
  EXPECT_FALSE(std::filesystem::exists("missing.db"));
  EXPECT_FALSE(std::filesystem::exists("moved.db"));
}

TEST_F(MoveTest, APasswordIsNotShown) {
  for (const char* const url :
       {"postgresql://user:s3cret@localhost:1/db", "postgresql://localhost:1/db?password=s3cret"}) {
    for (const std::string& line :
         {from_here + " --to " + url, std::string("move --from ") + url + " --to moved.db",
          std::string("move --from ") + url + " --cancel"}) {
      const Result result = run(line + " --busy-timeout 0 --log-level trace");
      EXPECT_NE(result.code, 0);
      EXPECT_THAT(result.out + result.err, Not(HasSubstr("s3cret"))) << line;
    }
  }
}

}  // namespace
}  // namespace dbcache::cli
