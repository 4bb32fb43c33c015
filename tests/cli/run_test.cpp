#include <algorithm>

#include <gmock/gmock.h>

#include "lease_test.hpp"

// `dbcache run`: how it ends, what the log says of it, and what is left.
namespace dbcache::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class RunTest : public LeaseTest {
 protected:
  static Result run(const std::string& rest) {
    return dbcache("run --config cluster.json " + rest);
  }
  static void expect_nothing_left() {
    EXPECT_EQ(leases(), no_leases);
    EXPECT_EQ(owed(), nothing_owed);
  }
};

TEST_F(RunTest, TheCommandReceivesTheCluster) {
  const Result result =
      run("--create 'echo cluster-1' -- "
          "sh -c 'echo $DATABRICKS_CLUSTER_ID $DBCACHE_LEASE $DBCACHE_DATABASE'");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("cluster-1 4-"));
  EXPECT_THAT(result.out, EndsWith(" " + database_name() + "\n"));
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(log(), ElementsAre("CreationStarted", "ClusterCached", "RegistryStatusChanged",
                                 "LeaseGranted", "ClusterAccessed", "LeaseReleased"));
  EXPECT_EQ(json("history --type LeaseGranted").at(0).at("position").as_int64(), 4);
  expect_nothing_left();
}

TEST_F(RunTest, TheExitCodeOfTheCommandIsPassedOn) {
  for (const int code : {0, 1, 3, 77, 124, 255}) {
    EXPECT_EQ(run("--create 'echo cluster-1' -- sh -c 'exit " + std::to_string(code) + "'").code,
              code);
  }
  expect_nothing_left();
}

TEST_F(RunTest, ACommandKilledByASignalExitsWith128PlusItsNumber) {
  EXPECT_EQ(run("--create 'echo cluster-1' -- sh -c 'kill -KILL $$'").code, 137);
  EXPECT_EQ(run("--create 'echo cluster-1' -- sh -c 'kill -TERM $$'").code, 143);
  expect_nothing_left();
}

TEST_F(RunTest, TheCommandReceivesItsArgumentsUnchanged) {
  const Result result =
      run("--create 'echo cluster-1' -- "
          "printf '<%s>' '[a,b]' --json -- '{}' '[' ']' '' '[]' --help -n 8");
  EXPECT_EQ(result.out, "<[a,b]><--json><--><{}><[><]><><[]><--help><-n><8>");
}

TEST_F(RunTest, TheCommandHasStdinAndStdout) {
  const Result result = shell(
      "echo from stdin | \"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- cat");
  EXPECT_EQ(result.out, "from stdin\n");
}

TEST_F(RunTest, ACommandThatCannotRunStartsNoCluster) {
  write_file("plain.txt", "no program");
  const std::string create = "--create 'echo created >&2; echo cluster-1' -- ";
  for (const auto& [command, code] :
       {std::pair("no-such-program-anywhere", 127), std::pair("./no-such-file", 127),
        std::pair("./plain.txt", 126), std::pair("/", 126)}) {
    const Result result = run(create + command);
    EXPECT_EQ(result.code, code) << command;
    EXPECT_THAT(result.err, AllOf(StartsWith("dbcache: "), Not(HasSubstr("created")))) << command;
  }
  EXPECT_FALSE(database_exists());
}

TEST_F(RunTest, AProgramThatTheKernelRefusesExitsWith126) {
  write_file("no-program", "no program");
  std::filesystem::permissions("no-program", std::filesystem::perms::owner_all);
  EXPECT_EQ(run("--create 'echo cluster-1' -- ./no-program").code, 126);
  expect_nothing_left();
}

TEST_F(RunTest, AFailedCreateExitsWith125AndShowsItsOutput) {
  const Result result = run("--create 'echo no quota >&2; exit 3' -- echo ran");
  EXPECT_EQ(result.code, 125);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err,
            "no quota\n"
            "dbcache: the create command 'echo no quota >&2; exit 3' ended with exit code 3: "
            "no quota\n");
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(log(), AllOf(Contains("CreationStarted"), Contains("TerminationOwed"),
                           Not(Contains("LeaseGranted"))));
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Creation Token: dbcache-"), HasSubstr("creation_failed"),
                            Not(HasSubstr("Cluster ID"))));
  EXPECT_THAT(dbcache("shared").out, HasSubstr("no quota"));
}

TEST_F(RunTest, ACreateWithoutAnIdFails) {
  const Result result = run("--create true -- echo ran");
  EXPECT_EQ(result.code, 125);
  EXPECT_THAT(result.err, HasSubstr("printed no cluster id"));
  EXPECT_EQ(result.out, "");
}

TEST_F(RunTest, ACreateThatPrintsMoreThanAnIdFailsAndSaysWhatItPrinted) {
  for (const char* const printed :
       {R"({"cluster_id": "cluster-1"})", "Created cluster cluster-1.", "null", "]"}) {
    write_file("printed", std::string("[ first\n") + printed + "\n");
    const Result result = run("--create 'cat printed' -- echo ran");
    EXPECT_EQ(result.code, 125) << printed;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, AllOf(HasSubstr("printed '[ first | " + std::string(printed) + "'"),
                                  HasSubstr("must be the cluster id alone")));
  }
  EXPECT_THAT(log(), AllOf(Contains("TerminationOwed"), Not(Contains("LeaseGranted"))));
}

TEST_F(RunTest, ACreateMayPrintOtherLinesBeforeTheId) {
  const Result result =
      run("--create 'echo \"{ starting }\"; printf \"cluster-1\\r\\n\\n\"' -- "
          "sh -c 'echo $DATABRICKS_CLUSTER_ID'");
  EXPECT_EQ(result.out, "cluster-1\n") << result.err;
}

TEST_F(RunTest, AFailureOfDbcacheExitsWith125) {
  EXPECT_EQ(dbcache("run --config missing.json --create true -- true").code, 125);
  EXPECT_EQ(run("--database /dev/null/cache.db --create 'echo cluster-1' -- true").code, 125);
}

TEST_F(RunTest, WrongUsageExitsWith2) {
  EXPECT_EQ(run("--create 'echo cluster-1'").code, 2);
  EXPECT_EQ(run("--create '' -- true").code, 2);
  EXPECT_EQ(run("--create 'echo cluster-1' --workspace-profile x -- true").code, 2);
  EXPECT_EQ(run("--create 'echo cluster-1' --keep --hand-back -- true").code, 2);
  EXPECT_EQ(run("--create 'echo cluster-1' --timeout -1 -- true").code, 2);
  EXPECT_EQ(run("--create 'echo cluster-1' --terminate '' -- true").code, 2);
  EXPECT_FALSE(database_exists());
}

TEST_F(RunTest, AWaitPastTheTimeoutExitsWith124) {
  make_fifo("up");
  make_fifo("go");
  auto creator = start(
      "\"$dbcache\" run --config cluster.json "
      "--create 'echo >up; cat go; echo cluster-1' -- true");
  wait_on("up");
  const Result result = run("--timeout 0.1 --create 'echo cluster-2' -- echo ran");
  EXPECT_EQ(result.code, 124);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("waiting: pid " + std::to_string(creator.pid()) + " on "));
  EXPECT_THAT(result.err, HasSubstr(" creates the cluster\n"));
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Creation: 1-"), HasSubstr("  Alive: Yes\n"),
                              Not(HasSubstr("Lease: "))));
  let_go("go");
  EXPECT_EQ(creator.wait(), 0);
  expect_nothing_left();
}

TEST_F(RunTest, ACreatePastTheTimeoutExitsWith124) {
  const Result result = run("--timeout 0.1 --create 'sleep 1000' -- echo ran");
  EXPECT_EQ(result.code, 124);
  EXPECT_THAT(result.err, HasSubstr("it took longer than --timeout"));
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(owed(), HasSubstr("  Creation Token: "));
}

// ---- Signals

TEST_F(RunTest, ASignalIsPassedToTheCommandWhichDecides) {
  make_fifo("up");
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
      "sh -c 'trap \"kill \\$!; exit 9\" TERM; sh -c \"echo >up; exec sleep 1000\" & wait'");
  wait_on("up");
  running.kill(SIGTERM);
  EXPECT_EQ(running.wait(), 9);
  EXPECT_THAT(log(), Contains("LeaseReleased"));
  expect_nothing_left();
}

TEST_F(RunTest, ASignalMayKillTheCommand) {
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) {
    make_fifo("up");
    auto running = start(
        "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
        "sh -c 'ulimit -c 0; echo >up; exec sleep 1000'");
    wait_on("up");
    running.kill(signal);
    EXPECT_EQ(running.wait(), 128 + signal);
    std::filesystem::remove("up");
  }
  expect_nothing_left();
}

TEST_F(RunTest, ASecondSignalKillsTheCommand) {
  make_fifo("up");
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
      "sh -c 'trap \"\" TERM INT; echo >up; exec sleep 1000'");
  wait_on("up");
  running.kill(SIGTERM);
  running.kill(SIGINT);
  EXPECT_EQ(running.wait(), 137);
  EXPECT_THAT(log(), Contains("LeaseReleased"));
  expect_nothing_left();
}

// As timeout(1) does: to the process, and to its group.
TEST_F(RunTest, ASignalThatIsSentTwiceAtOnceIsOneRequest) {
  for (int round = 0; round < 10; ++round) {
    make_fifo("up");
    make_fifo("go");
    auto running = start(
        "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
        "sh -c 'sleep 1000 & trap \"kill $!; read line <go; exit 9\" TERM; echo >up; wait'");
    wait_on("up");
    running.kill(SIGTERM);
    running.kill(SIGTERM);
    let_go("go");
    EXPECT_EQ(running.wait(), 9);
    std::filesystem::remove("up");
    std::filesystem::remove("go");
  }
  expect_nothing_left();
}

// As systemd does, and the hang-up is seen first.
TEST_F(RunTest, ACommandThatIgnoresHangUpsStillGetsTheTerm) {
  make_fifo("up");
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
      "sh -c 'trap \"\" HUP; echo >up; exec sleep 1000'");
  wait_on("up");
  running.kill(SIGHUP);
  running.kill(SIGTERM);
  EXPECT_EQ(running.wait(), 143);
  expect_nothing_left();
}

TEST_F(RunTest, ASignalThatTheCallerIgnoresIsIgnored) {
  make_fifo("up");
  make_fifo("go");
  auto running = start(
      "env --ignore-signal=HUP \"$dbcache\" run --config cluster.json "
      "--create 'echo cluster-1' -- sh -c 'echo >up; cat go; exit 5'");
  wait_on("up");
  running.kill(SIGHUP);
  running.kill(SIGHUP);
  let_go("go");
  EXPECT_EQ(running.wait(), 5);
}

TEST_F(RunTest, ASignalStopsTheWait) {
  make_fifo("up");
  make_fifo("go");
  auto creator = start(
      "\"$dbcache\" run --config cluster.json "
      "--create 'echo >up; cat go; echo cluster-1' -- true");
  wait_on("up");
  make_fifo("waits");
  auto waiter = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-2' "
      "-- echo ran >ran.txt 2>waits");
  // The line that says that it waits. The reader stays until the writer has closed.
  const int said = ::open("waits", O_RDONLY);
  char byte = 0;
  EXPECT_EQ(::read(said, &byte, 1), 1);
  waiter.kill(SIGINT);
  EXPECT_EQ(waiter.wait(), 130);
  ::close(said);
  EXPECT_EQ(test::read_bytes("ran.txt"), "");
  let_go("go");
  EXPECT_EQ(creator.wait(), 0);
  expect_nothing_left();
}

TEST_F(RunTest, ASignalStopsTheCreation) {
  make_fifo("up");
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'trap \"echo term >said.txt; exit 1\" TERM; "
      "sh -c \"echo >up; exec sleep 1000\" & wait' -- echo ran >ran.txt 2>err.txt");
  wait_on("up");
  running.kill(SIGTERM);
  EXPECT_EQ(running.wait(), 143);
  EXPECT_EQ(test::read_bytes("said.txt"), "term\n");
  EXPECT_EQ(test::read_bytes("ran.txt"), "");
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(log(), Not(Contains("LeaseGranted")));
  EXPECT_THAT(owed(), HasSubstr("  Creation Token: "));
}

// ---- When dbcache is killed

TEST_F(RunTest, IfRunIsKilledTheCommandHoldsTheLease) {
  make_fifo("up");
  make_fifo("go");
  Lifeline lifeline;
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- "
      "sh -c 'echo >up; cat go'");
  lifeline.cut();
  wait_on("up");
  running.kill(SIGKILL);
  EXPECT_EQ(running.wait(), -SIGKILL);
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Lease: 4-"), HasSubstr("  Alive: Yes\n")));
  EXPECT_EQ(run("--create 'echo cluster-2' -- sh -c 'echo $DATABRICKS_CLUSTER_ID'").out,
            "cluster-1\n");

  let_go("go");
  lifeline.wait();
  await_the_killed();
  EXPECT_THAT(leases(), HasSubstr("  Alive: No\n"));
  EXPECT_EQ(owed(), nothing_owed);  // That notes the dead.
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(log(), Contains("LeaseLost"));
  EXPECT_THAT(dbcache("history --type LeaseLost").out, HasSubstr("    reason: died\n"));
}

TEST_F(RunTest, IfRunIsKilledTheCreateCommandStaysTheCreator) {
  make_fifo("up");
  make_fifo("go");
  Lifeline lifeline;
  auto running = start(
      "\"$dbcache\" run --config cluster.json "
      "--create 'echo >up; cat go' -- true");
  lifeline.cut();
  wait_on("up");
  running.kill(SIGKILL);
  running.wait();
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Creation: 1-"), HasSubstr("  Alive: Yes\n")));
  EXPECT_EQ(run("--timeout 0.1 --create 'echo cluster-2' -- true").code, 124);

  let_go("go");
  lifeline.wait();
  await_the_killed();
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Creation Token: "), HasSubstr("creator_died")));
  EXPECT_EQ(leases(), no_leases);
}

// ---- What it does with the cluster

TEST_F(RunTest, ANestedRunJoinsTheLease) {
  const Result result =
      run("--create 'echo cluster-1' -- \"$dbcache\" run --config cluster.json --create 'exit 1' "
          "--hand-back -- sh -c 'echo $DATABRICKS_CLUSTER_ID $DBCACHE_LEASE; exit 6'");
  EXPECT_EQ(result.code, 6) << result.err;
  EXPECT_THAT(result.out, MatchesRegex("cluster-1 4-[0-9a-f]{16}\n"));
  EXPECT_EQ(result.err, "");
  const auto types = log();
  EXPECT_EQ(std::count(types.begin(), types.end(), "LeaseGranted"), 1);
  EXPECT_EQ(std::count(types.begin(), types.end(), "LeaseReleased"), 1);
  expect_nothing_left();
}

TEST_F(RunTest, ANestedRunOfAnotherConfigurationTakesAnotherCluster) {
  write_file("other.json", R"({"cluster_name": "other"})");
  const Result result =
      run("--create 'echo cluster-1' -- \"$dbcache\" run --config other.json "
          "--create 'echo cluster-2' -- sh -c 'echo $DATABRICKS_CLUSTER_ID'");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "cluster-2\n");
  expect_nothing_left();
}

TEST_F(RunTest, AHandedBackClusterIsTerminated) {
  const Result result =
      run("--hand-back --create 'echo cluster-1' "
          "--terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt' -- true");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_THAT(log(), AllOf(Contains("TerminationOwed"), Contains("TerminationStarted"),
                           Contains("TerminationDone")));
  expect_nothing_left();
}

TEST_F(RunTest, AStoppedRunTerminatesItsOwnClusterAlone) {
  write_file("other.json", R"({"cluster_name": "other"})");
  make_fifo("up");
  auto running = start(
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' --hand-back "
      "--terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt' -- "
      "sh -c 'echo >up; exec sleep 1000'");
  wait_on("up");
  dbcache("run --config other.json --create 'echo cluster-0' --hand-back -- true");
  running.kill(SIGTERM);
  EXPECT_EQ(running.wait(), 143);
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_THAT(owed(), HasSubstr("  Cluster ID: cluster-0\n"));
}

TEST_F(RunTest, AFailedHandBackIsPendingAndKeepsTheExitCode) {
  const Result result =
      run("--hand-back --create 'echo cluster-1' "
          "--terminate 'echo no permission >&2; exit 1' -- sh -c 'exit 4'");
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("the cluster cluster-1 is not terminated yet"),
                    HasSubstr("no permission"), HasSubstr("dbcache cleanup with --terminate CMD")));
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Cluster ID: cluster-1\n"), HasSubstr("  Attempts: 1\n"),
                            HasSubstr("no permission")));
}

TEST_F(RunTest, AKeptClusterServesTheNextRun) {
  const std::string show = "-- sh -c 'echo $DATABRICKS_CLUSTER_ID'";
  EXPECT_EQ(run("--create 'echo cluster-1' " + show).out, "cluster-1\n");
  EXPECT_EQ(run("--create 'echo cluster-2' " + show).out, "cluster-1\n");
}

TEST_F(RunTest, ACheckDecidesIfAKeptClusterIsUsed) {
  const std::string show = "-- sh -c 'echo $DATABRICKS_CLUSTER_ID'";
  run("--create 'echo cluster-1' " + show);
  EXPECT_EQ(
      run("--check '[ $DBCACHE_CLUSTER_ID = cluster-1 ]' --create 'echo cluster-2' " + show).out,
      "cluster-1\n");
  const Result failed =
      run("--check 'echo no network >&2; exit 7' --create 'echo cluster-2' " + show);
  EXPECT_EQ(failed.code, 125);
  EXPECT_THAT(failed.err, HasSubstr("exit code 7: no network"));
  EXPECT_EQ(run("--check false --create 'echo cluster-2' " + show).out, "cluster-2\n");
  expect_nothing_left();
}

TEST_F(RunTest, TheCreateCommandReceivesItsEnvironment) {
  const Result result =
      run("--create 'cat >got.json; echo $DBCACHE_CONFIG_HASH $DBCACHE_CREATION $DBCACHE_DATABASE "
          "$DBCACHE_STARTED_CLUSTER_ID >got.txt; echo $DBCACHE_IDEMPOTENCY_TOKEN >token.txt; "
          "echo cluster-1' -- true");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(test::read_bytes("got.json"),
            "{\"cluster_name\":\"test-cluster\",\"num_workers\":1}\n");
  const std::string hash = must("hash --config cluster.json");
  EXPECT_EQ(test::read_bytes("got.txt"),
            hash.substr(0, hash.size() - 1) + " 1 " + database_name() + "\n");
  EXPECT_THAT(test::read_bytes("token.txt"), StartsWith("dbcache-"));
}

TEST_F(RunTest, AClusterFromTheEnvironmentIsUsedAndNeverTerminated) {
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "cluster-mine");
  const Result result =
      run("--hand-back --create 'exit 1' --terminate 'echo >terminated.txt' -- "
          "sh -c 'echo $DATABRICKS_CLUSTER_ID'");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "cluster-mine\n");
  EXPECT_FALSE(std::filesystem::exists("terminated.txt"));
}

TEST_F(RunTest, ALostLeaseIsReported) {
  const Result result =
      run("--create 'echo cluster-1' -- "
          "sh -c '\"$dbcache\" clear --yes --force >cleared.txt'");
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, ContainsRegex("lease 4-[0-9a-f]{16} was lost while the command ran"));
}

}  // namespace
}  // namespace dbcache::cli
