#include <gmock/gmock.h>

#include "cli/process/system_call.hpp"
#include "lease_test.hpp"

// Leases from shells: acquire, renew, release, guards, pending terminations, and what leaves them
// alone.
namespace dbcache::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class LeaseCommandsTest : public LeaseTest {
 protected:
  /// A process that a guard can hold for, until it is let go.
  static test::ChildProcess start_owner() {
    make_fifo("owner");
    return start("cat owner");
  }
  /// Waits until the guard of a lease has released it: the lock's end wakes who waits for nothing
  /// else, so the log is what tells.
  static void wait_for_event(const std::string& type) {
    const Result result = shell("until \"$dbcache\" history --type " + type +
                                " >found.txt 2>&1; do sleep 0.02; done");
    EXPECT_EQ(result.code, 0);
  }
};

TEST_F(LeaseCommandsTest, AcquirePrintsOnlyTheName) {
  const Result result = acquire("");
  EXPECT_THAT(result.out, MatchesRegex("4-[0-9a-f]{16}\n"));
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Lease: " + result.out + "  Cluster ID: cluster-1\n"),
                              HasSubstr("  Alive: Yes\n  Until: ")));
}

TEST_F(LeaseCommandsTest, AcquireEnvPrintsShellCode) {
  EXPECT_THAT(
      acquire("--env").out,
      MatchesRegex("export DBCACHE_LEASE=4-[0-9a-f]{16} DATABRICKS_CLUSTER_ID=cluster-1\n"));
  write_file("odd.json", R"({"cluster_name": "odd"})");
  const Result result = shell(
      "eval \"$(\"$dbcache\" acquire --config odd.json --create \"echo 'a\\$b;c&d'\" --env)\"; "
      "sh -c 'echo \"$DATABRICKS_CLUSTER_ID\"'");
  EXPECT_EQ(result.out, "a$b;c&d\n") << result.err;
}

TEST_F(LeaseCommandsTest, AcquirePrintsJson) {
  const auto lease = boost::json::parse(acquire("--json --ttl 60").out);
  EXPECT_EQ(lease.at("lease").as_int64(), 4);
  EXPECT_THAT(std::string(lease.at("name").as_string()), MatchesRegex("4-[0-9a-f]{16}"));
  EXPECT_EQ(lease.at("cluster_id").as_string(), "cluster-1");
  EXPECT_EQ(lease.at("config_hash").as_string().size(), 64U);
  EXPECT_TRUE(lease.at("created_here").as_bool());
  EXPECT_EQ(lease.at("until").as_string().size(), 26U);
}

TEST_F(LeaseCommandsTest, ALeaseIsReleasedIfItsNameCannotBePrinted) {
  EXPECT_EQ(
      shell("\"$dbcache\" acquire --config cluster.json --create 'echo cluster-1' >/dev/full").code,
      3);
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(LeaseCommandsTest, AFailedAcquireNamesTheReason) {
  const Result result =
      dbcache("acquire --config cluster.json --create 'echo no quota >&2; false'");
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, EndsWith("ended with exit code 1: no quota\n"));
}

TEST_F(LeaseCommandsTest, WrongUsageExitsWith2) {
  EXPECT_EQ(acquire("--ttl 0").code, 2);
  EXPECT_EQ(acquire("--ttl 60 --while-pid $$").code, 2);
  EXPECT_EQ(acquire("--while-pid 0").code, 2);
  EXPECT_EQ(acquire("--env --json").code, 2);
  EXPECT_EQ(dbcache("release").code, 2);
  EXPECT_EQ(dbcache("join-run nightly").code, 2);
}

TEST_F(LeaseCommandsTest, RenewMovesTheDeadline) {
  const std::string lease = name_in(acquire("--ttl 60"));
  const auto until = [&] {
    return std::string(json("leases").at("leases").at(0).at("holder").at("until").as_string());
  };
  const std::string before = until();
  EXPECT_THAT(dbcache("renew " + lease + " --ttl 3600").out,
              StartsWith("renewed lease " + lease + " until 2"));
  EXPECT_GT(until(), before);
}

TEST_F(LeaseCommandsTest, RenewOfALeaseWithoutADeadlineIsRefused) {
  EXPECT_EQ(dbcache("renew 4711-0123456789abcdef").code, 1);
  auto owner = start_owner();
  const std::string lease = name_in(acquire("--while-pid " + std::to_string(owner.pid())));
  EXPECT_EQ(dbcache("renew " + lease).code, 2);
  let_go("owner");
  wait_for_event("LeaseReleased");
}

TEST_F(LeaseCommandsTest, ReleasePrintsTheRemainingUses) {
  const std::string first = name_in(acquire(""));
  const std::string second = name_in(acquire(""));
  EXPECT_EQ(dbcache("release " + first).out, "released lease " + first + ": 1 use left\n");
  EXPECT_EQ(dbcache("release " + second).out,
            "released lease " + second + ", the last one: its cluster is kept\n");
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(LeaseCommandsTest, ATeardownMayRunTwice) {
  const std::string lease = name_in(acquire(""));
  dbcache("release " + lease);
  const Result result = dbcache("release " + lease);
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "lease " + lease + " was released before: nothing to release\n");
}

/// It may be moved back.
TEST_F(LeaseCommandsTest, AGuardKeepsItsLeaseWhileTheDatabaseIsAway) {
  auto owner = start_owner();
  const std::string lease = name_in(acquire("--while-pid " + std::to_string(owner.pid())));
  shell("mv Environment aside; sleep 6; mv aside Environment");  // it looks every 5 seconds
  EXPECT_THAT(leases(), HasSubstr("  Alive: Yes\n"));
  let_go("owner");
  EXPECT_EQ(owner.wait(), 0);
  wait_for_event("LeaseReleased");
}

TEST_F(LeaseCommandsTest, ReleaseTerminatesAHandBackCluster) {
  const std::string lease = name_in(acquire("--hand-back"));
  const Result result =
      dbcache("release " + lease + " --terminate 'echo $DBCACHE_CLUSTER_ID >terminated.txt'");
  EXPECT_EQ(result.out, "released lease " + lease + ", the last one: terminated cluster-1\n");
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_F(LeaseCommandsTest, ReleaseTerminatesItsOwnClusterFirst) {
  write_file("other.json", R"({"cluster_name": "other"})");
  dbcache("run --config other.json --create 'echo cluster-0' --hand-back -- true");
  const std::string lease = name_in(acquire("--hand-back"));
  dbcache("release " + lease + " --terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt'");
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\ncluster-0\n");
}

TEST_F(LeaseCommandsTest, AStoppedReleaseLeavesOtherTerminationsPending) {
  write_file("other.json", R"({"cluster_name": "other"})");
  dbcache("run --config other.json --create 'echo cluster-0' --hand-back -- true");
  const std::string lease = name_in(acquire("--hand-back"));
  make_fifo("up");
  make_fifo("go");
  auto releasing = start("\"$dbcache\" release " + lease +
                         " --terminate 'trap \"\" TERM; echo >up; read line <go; echo "
                         "$DBCACHE_CLUSTER_ID >>terminated.txt' >out.txt");
  wait_on("up");
  send_and_see_taken(releasing, SIGTERM);
  let_go("go");
  EXPECT_EQ(releasing.wait(), 143);
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Cluster ID: cluster-0\n"),
                            Not(HasSubstr("  Cluster ID: cluster-1\n"))));
}

TEST_F(LeaseCommandsTest, ReleaseWithoutTerminateLeavesATerminationPending) {
  const std::string lease = name_in(acquire("--hand-back"));
  const Result result = dbcache("release " + lease);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, EndsWith("the termination of cluster-1 is pending\n"));
  EXPECT_THAT(result.err, HasSubstr("dbcache cleanup with --terminate CMD"));
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Cluster ID: cluster-1\n"),
                            HasSubstr("  Reason: handed_back\n"), HasSubstr("  Attempts: 0\n")));
  EXPECT_EQ(json("owed").at(0).at("cluster_id").as_string(), "cluster-1");
}

TEST_F(LeaseCommandsTest, ReleaseExitsWith3IfTerminateFails) {
  const std::string lease = name_in(acquire("--hand-back"));
  const Result result = dbcache("release " + lease + " --terminate 'echo no >&2; exit 9'");
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Attempts: 1\n"), HasSubstr("exit code 9: no")));
}

// ---- Guards

TEST_F(LeaseCommandsTest, AGuardHoldsItsLeaseWhileTheProcessLives) {
  auto owner = start_owner();
  const std::string lease = name_in(acquire("--while-pid " + std::to_string(owner.pid())));
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Lease: " + lease + "\n"), HasSubstr("  Alive: Yes\n"),
                              Not(HasSubstr("Until"))));
  let_go("owner");
  EXPECT_EQ(owner.wait(), 0);
  wait_for_event("LeaseReleased");
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(LeaseCommandsTest, AGuardTerminatesAHandBackCluster) {
  make_fifo("terminated");
  auto owner = start_owner();
  name_in(acquire("--hand-back --terminate 'echo $DBCACHE_CLUSTER_ID >terminated' --while-pid " +
                  std::to_string(owner.pid())));
  owner.kill(SIGKILL);
  owner.wait();
  wait_on("terminated");
  wait_for_event("TerminationDone");
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_F(LeaseCommandsTest, AStoppedGuardLeavesOtherTerminationsPending) {
  auto owner = start_owner();
  name_in(
      acquire("--hand-back --terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt' --while-pid " +
              std::to_string(owner.pid())));
  const auto granted = json("history --type LeaseGranted").as_array().back();
  const auto pid = granted.at("metadata").at("pid").to_number<pid_t>();
  write_file("other.json", R"({"cluster_name": "other"})");
  dbcache("run --config other.json --create 'echo cluster-0' --hand-back -- true");
  const Descriptor guard = open_process(pid);
  ::kill(pid, SIGTERM);
  std::array<pollfd, 1> ended{{{guard.number(), POLLIN, 0}}};
  wait_for(ended);
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_THAT(owed(), HasSubstr("  Cluster ID: cluster-0\n"));
  let_go("owner");
}

TEST_F(LeaseCommandsTest, AGuardEndsWhenItsLeaseIsReleased) {
  auto owner = start_owner();
  const std::string lease = name_in(acquire("--while-pid " + std::to_string(owner.pid())));
  EXPECT_THAT(dbcache("release " + lease).out, StartsWith("released lease " + lease));
  EXPECT_EQ(leases(), no_leases);
  let_go("owner");
}

TEST_F(LeaseCommandsTest, AGuardKeepsNoDescriptorOpen) {
  auto owner = start_owner();
  // $(...) returns once the last writer has closed.
  const Result result = shell(
      "echo $(\"$dbcache\" acquire --config cluster.json "
      "--create 'echo cluster-1' --while-pid " +
      std::to_string(owner.pid()) + " 9>&1)");
  EXPECT_THAT(result.out, MatchesRegex("4-[0-9a-f]{16}\n"));
  let_go("owner");
  wait_for_event("LeaseReleased");
}

TEST_F(LeaseCommandsTest, AGuardNeedsALivingProcess) {
  auto gone = start("true");
  const std::string pid = std::to_string(gone.pid());
  gone.wait();
  const Result result = acquire("--while-pid " + pid);
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--while-pid " + pid + ": "));
  EXPECT_FALSE(database_exists());
}

TEST_F(LeaseCommandsTest, TheCommandReportsAFailureOfItsGuard) {
  auto owner = start_owner();
  const Result result =
      dbcache("acquire --config cluster.json --create 'echo no quota >&2; false' --while-pid " +
              std::to_string(owner.pid()));
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, AllOf(StartsWith("no quota\n"), HasSubstr("exit code 1: no quota")));
  let_go("owner");
}

TEST_F(LeaseCommandsTest, ASignalToTheCommandEndsTheGuardsWait) {
  make_fifo("up");
  auto owner = start_owner();
  auto acquiring = start("\"$dbcache\" acquire --config cluster.json --while-pid " +
                         std::to_string(owner.pid()) +
                         " --create 'echo >up; exec sleep 1000' >out.txt 2>err.txt");
  wait_on("up");
  acquiring.kill(SIGINT);
  EXPECT_EQ(acquiring.wait(), 130);
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(owed(), HasSubstr("  Creation Token: "));
  let_go("owner");
}

// It may end well all the same; but who was told to end has nobody to tell the number to.
TEST_F(LeaseCommandsTest, ASignalDuringASuccessfulCreateLeavesNoLease) {
  make_fifo("up");
  make_fifo("go");
  auto owner = start_owner();
  for (const std::string& how : {std::string(), "--while-pid " + std::to_string(owner.pid())}) {
    dbcache("cleanup-shared --force");
    auto acquiring = start(
        "\"$dbcache\" acquire --config cluster.json " + how +
        " --create 'trap \"\" TERM; echo >up; read line <go; echo cluster-1' >out.txt 2>err.txt");
    wait_on("up");
    acquiring.kill(SIGTERM);
    let_go("go");
    EXPECT_EQ(acquiring.wait(), 143) << how;
    EXPECT_EQ(test::read_bytes("out.txt"), "") << how;
    EXPECT_EQ(leases(), no_leases) << how;
  }
  let_go("owner");
}

TEST_F(LeaseCommandsTest, ARunLastsWhileAParticipantLives) {
  auto owner = start_owner();
  const std::string participant = name_in(dbcache(
      "join-run nightly --kind worker --name gw0 --while-pid " + std::to_string(owner.pid())));
  EXPECT_THAT(leases(), AllOf(HasSubstr("  Participant: " + participant +
                                        "\n  Run: nightly\n"
                                        "  Kind: worker\n  Name: gw0\n"),
                              HasSubstr("  Alive: Yes\n")));
  EXPECT_EQ(dbcache("run --config cluster.json --create 'echo cluster-1' --hand-back "
                    "--run nightly -- true")
                .code,
            0);
  EXPECT_EQ(owed(), nothing_owed);
  let_go("owner");
  wait_for_event("RunLeft");
  EXPECT_THAT(owed(), HasSubstr("  Cluster ID: cluster-1\n"));
}

// ---- Pending terminations

TEST_F(LeaseCommandsTest, CleanupRunsPendingTerminations) {
  dbcache("run --config cluster.json --create 'echo cluster-1' --hand-back -- true");
  const Result failed = dbcache("cleanup --terminate 'echo no >&2; exit 1'");
  EXPECT_EQ(failed.code, 3);
  EXPECT_THAT(failed.out, HasSubstr("  Failed: cluster-1: "));
  EXPECT_THAT(owed(), AllOf(HasSubstr("  Attempts: 1\n"), HasSubstr("exit code 1: no")));

  const Result settled = dbcache("cleanup --terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt'");
  EXPECT_EQ(settled.code, 0) << settled.err;
  EXPECT_THAT(settled.out, EndsWith("\n=== Pending Terminations ===\n  Terminated: cluster-1\n"));
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_EQ(owed(), nothing_owed);
  EXPECT_THAT(dbcache("cleanup --terminate false").out, EndsWith("===\n  None\n"));
}

TEST_F(LeaseCommandsTest, ATerminationThatHasJustFailedIsLeftToCleanup) {
  write_file("other.json", R"({"cluster_name": "other"})");
  const std::string terminating = " --terminate 'echo $DBCACHE_CLUSTER_ID >>terminated.txt'";
  dbcache(
      "run --config cluster.json --create 'echo cluster-1' --hand-back --terminate false -- true");
  dbcache("run --config other.json --create 'echo cluster-2' --hand-back" + terminating +
          " -- true");
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-2\n");
  dbcache("cleanup" + terminating);
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-2\ncluster-1\n");
}

TEST_F(LeaseCommandsTest, CleanupRunsPendingTerminationsWithJson) {
  dbcache("run --config cluster.json --create 'echo cluster-1' --hand-back -- true");
  const auto document = boost::json::parse(dbcache("cleanup --json --terminate true").out);
  EXPECT_EQ(document.at("terminations").at("settled").at(0).as_string(), "cluster-1");
}

TEST_F(LeaseCommandsTest, AStartedClusterIsPendingByItsId) {
  dbcache(
      "run --config cluster.json "
      "--create '\"$dbcache\" started cluster-77 && echo half way >&2 && false' -- true");
  EXPECT_THAT(owed(), HasSubstr("  Cluster ID: cluster-77\n"));
}

TEST_F(LeaseCommandsTest, ATakeoverContinuesWithTheStartedCluster) {
  make_fifo("up");
  Lifeline lifeline;
  auto creator = start(
      "\"$dbcache\" run --config cluster.json --create "
      "'\"$dbcache\" started cluster-77; echo >up; exec sleep 1000' -- true");
  lifeline.cut();
  wait_on("up");
  // The create command holds the creation for as long as it lives, so it is ended, too.
  creator.kill(SIGINT);
  creator.wait();
  lifeline.wait();
  await_the_killed();
  const Result result = dbcache(
      "run --config cluster.json "
      "--create 'echo $DBCACHE_STARTED_CLUSTER_ID' -- "
      "sh -c 'echo $DATABRICKS_CLUSTER_ID'");
  EXPECT_EQ(result.out, "cluster-77\n") << result.err;
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_F(LeaseCommandsTest, StartedNeedsTheCreation) {
  const Result result = dbcache("started cluster-1");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("DBCACHE_CREATION"));
  EXPECT_EQ(
      shell("DBCACHE_CONFIG_HASH=a DBCACHE_CREATION_NAME=x \"$dbcache\" started cluster-1").code,
      2);
}

// ---- What leaves leases alone

TEST_F(LeaseCommandsTest, ClearKeepsALeasedCluster) {
  const std::string lease = name_in(acquire(""));
  const Result result = dbcache("clear --yes");
  EXPECT_THAT(result.out,
              EndsWith("  Removed Clusters: 0\n"
                       "  Kept, because a live lease holds it: cluster-1\n"
                       "  (dbcache leases shows the holder; --force removes it anyway)\n"));
  EXPECT_EQ(json("clear").at("held").at(0).as_string(), "cluster-1");
  EXPECT_THAT(dbcache("clear --yes --force").out, EndsWith("  Removed Clusters: 1\n"));
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(log(), Contains("LeaseLost"));
}

TEST_F(LeaseCommandsTest, CleanupSharedKeepsALeasedEntry) {
  name_in(acquire(""));
  const std::string hash = must("hash --config cluster.json").substr(0, 64);
  for (const std::string& line : {std::string("cleanup-shared --yes"), "cleanup-shared " + hash}) {
    EXPECT_THAT(dbcache(line).out, AllOf(HasSubstr("  Removed Entries: 0\n"),
                                         HasSubstr("because a live lease holds it: " + hash)));
  }
  EXPECT_THAT(dbcache("cleanup-shared --force " + hash).out, EndsWith("  Removed Entries: 1\n"));
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(LeaseCommandsTest, LeasesListsDocumentedUses) {
  dbcache("register team-tests");
  EXPECT_THAT(leases(), HasSubstr("\n=== Uses Counted Without a Lease ===\n"
                                  "  Config Hash: team-tests\n  Uses: 1\n"));
}

TEST_F(LeaseCommandsTest, HistoryNamesTheHolders) {
  shell(
      "\"$dbcache\" run --label nightly --config cluster.json --hand-back "
      "--create 'echo cluster-1' --terminate 'exit 3' -- true");
  const std::string text = dbcache("history").out;
  EXPECT_THAT(text, HasSubstr("    holder: pid "));
  EXPECT_THAT(text, HasSubstr(", label nightly\n    policy: hand_back\n"));
  EXPECT_THAT(text, HasSubstr("    idempotency_token: dbcache-"));
  EXPECT_THAT(text, HasSubstr("    subject: cluster-1\n"));
  EXPECT_THAT(text,
              HasSubstr("    error: the terminate command 'exit 3' ended with exit code 3\n"));
}

}  // namespace
}  // namespace dbcache::cli
