#include <cstdlib>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "cli_test.hpp"

// The program itself, as a shell starts it.
namespace dbcache::cli {
namespace {

class ProcessTest : public CliTest {
 protected:
  /// Runs a shell line in which $dbcache is the program. Returns the exit code.
  static int shell(const std::string& line) {
    ::setenv("dbcache", DBCACHE_COMMAND, 1);
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(ProcessTest, RunsWithoutAnyTerminal) {
  EXPECT_EQ(shell("\"$dbcache\" cache cluster-1 >out 2>err </dev/null"), 0);
  EXPECT_EQ(shell("\"$dbcache\" access cluster-2 >out 2>err </dev/null"), 1);
  EXPECT_EQ(shell("\"$dbcache\" list --all >out 2>err </dev/null"), 2);
}

TEST_F(ProcessTest, AFullDiskBehindStdoutIsAFailure) {
  EXPECT_EQ(shell("\"$dbcache\" status >/dev/full 2>err"), 3);
  EXPECT_EQ(shell("grep -q 'could not be written' err"), 0);
}

TEST_F(ProcessTest, TheDatabaseDoesNotTakeAClosedDescriptor) {
  EXPECT_EQ(shell("\"$dbcache\" cache cluster-1 >&- 2>err </dev/null"), 3);
  EXPECT_EQ(shell("\"$dbcache\" cache cluster-2 >&- 2>&- <&-"), 3);
  EXPECT_EQ(shell("\"$dbcache\" cache cluster-3 --config - <&- >out 2>&-"), 2);
  EXPECT_EQ(shell("\"$dbcache\" verify >out"), 0);
  EXPECT_THAT(must("list --json"), ::testing::AllOf(::testing::HasSubstr("cluster-1"),
                                                    ::testing::HasSubstr("cluster-2")));
}

TEST_F(ProcessTest, TheCallingShellIsTheRegisteredWorker) {
  EXPECT_EQ(shell("\"$dbcache\" register team-tests >out; echo $$ >pid"), 0);
  EXPECT_EQ(shell("\"$dbcache\" shared team-tests | grep -qx \"  Worker PID: $(cat pid)\""), 0);
}

TEST_F(ProcessTest, AnEndlessConfigurationOnStdinIsRefused) {
  EXPECT_EQ(shell("\"$dbcache\" hash </dev/zero >out 2>err"), 2);
}

}  // namespace
}  // namespace dbcache::cli
