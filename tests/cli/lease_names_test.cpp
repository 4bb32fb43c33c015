#include <filesystem>

#include <gmock/gmock.h>

#include "lease_test.hpp"

// What is given to release and renew, and what they say of leases that ended before.
namespace dbcache::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class LeaseNamesTest : public LeaseTest {};

TEST_F(LeaseNamesTest, ALeaseThatEndedByItsDeadlineIsTold) {
  const std::string lease =
      name_in(acquire("--ttl 0.001"));  // passes before another process has started
  const Result result = dbcache("release " + lease);
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "dbcache: the lease " + lease +
                            " had ended by its deadline; its cluster cluster-1 is cached for the "
                            "next run\n");
  const auto report = boost::json::parse(dbcache("release --json " + lease).out);
  EXPECT_FALSE(report.at("was_held").as_bool());
  EXPECT_EQ(report.at("ended").as_string(), "deadline");
  EXPECT_EQ(report.at("cluster_id").as_string(), "cluster-1");
  EXPECT_EQ(report.at("cluster_is").as_string(), "cached");
}

TEST_F(LeaseNamesTest, ReleaseTerminatesWhatItsDeadlineHadHandedBack) {
  const std::string lease = name_in(acquire("--hand-back --ttl 0.001"));
  const Result result =
      dbcache("release " + lease + " --terminate 'echo $DBCACHE_CLUSTER_ID >terminated.txt'");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("had ended by its deadline; its cluster cluster-1 was "
                                    "terminated"));
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_F(LeaseNamesTest, TheNumberOfALeaseThatEndedIsNoNameOfItsCluster) {
  const std::string lease = name_in(acquire("--hand-back --ttl 0.001"));
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "cluster-of-another-log");
  const Result result = dbcache("release 4 --terminate 'echo $DBCACHE_CLUSTER_ID >terminated.txt'");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("the lease 4 is on the cluster cluster-1, and "
                                    "DATABRICKS_CLUSTER_ID is cluster-of-another-log"));
  EXPECT_FALSE(std::filesystem::exists("terminated.txt"));
}

TEST_F(LeaseNamesTest, ReleaseOfWhatWasReleasedTerminatesNothing) {
  const std::string lease = name_in(acquire("--hand-back"));
  dbcache("release " + lease);
  const Result result =
      dbcache("release " + lease + " --terminate 'echo $DBCACHE_CLUSTER_ID >terminated.txt'");
  EXPECT_EQ(result.out, "lease " + lease + " was released before: nothing to release\n");
  EXPECT_FALSE(std::filesystem::exists("terminated.txt"));
}

/// What is mistyped, or tried on another database, says nothing about a cluster.
TEST_F(LeaseNamesTest, AClusterThatSomebodyHasIsNotCalledNobodys) {
  const std::string lease = name_in(acquire(""));
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "cluster-1");
  EXPECT_EQ(dbcache("release 4711").err,
            "dbcache: this database has no lease 4711: see `dbcache leases`\n");
  const std::string other = "4711" + lease.substr(lease.find('-'));
  EXPECT_THAT(dbcache("release " + other).err,
              HasSubstr("; this database has the cluster cluster-1 too: leave it to that"));
  EXPECT_THAT(dbcache("release " + other + " --database other.db").err,
              AllOf(HasSubstr("the database does not exist; check its path"),
                    ::testing::Not(HasSubstr("cluster-1"))));
  dbcache("init --database other.db");
  EXPECT_THAT(dbcache("release " + other + " --database other.db").err,
              HasSubstr("; if no other database has it, the cluster cluster-1 is nobody's now"));
}

TEST_F(LeaseNamesTest, ALeaseJoinedByItsNumberTellsItsName) {
  const Result result = dbcache(
      "run --config cluster.json --create 'echo cluster-1' -- sh -c 'echo $DBCACHE_LEASE; "
      "DBCACHE_LEASE=${DBCACHE_LEASE%-*} \"$dbcache\" acquire --config cluster.json --create "
      "false'");
  EXPECT_THAT(result.out, MatchesRegex("([0-9]+-[0-9a-f]+\n)+"));
  const std::string once = result.out.substr(0, result.out.size() / 2);
  EXPECT_EQ(once + once, result.out);
}

TEST_F(LeaseNamesTest, ANameThatIsNoneOfALeaseIsRefused) {
  const std::string lease = name_in(acquire(""));
  const std::string mark = lease.substr(lease.find('-'));
  const std::string before = dbcache("history --json").out;
  const auto refusal = [](const std::string& name) {
    const Result result = dbcache("release '" + name + "'");
    EXPECT_EQ(result.out, "");
    return std::to_string(result.code) + " " + result.err;
  };
  for (const std::string& cut : {lease.substr(0, lease.size() - 1), lease + "0", "-" + lease,
                                 "0" + lease, std::string("4-"), std::string("x"), std::string()}) {
    EXPECT_THAT(refusal(cut), StartsWith("2 dbcache: '" + cut + "' is not the name of a lease"));
  }
  EXPECT_THAT(refusal("4"),
              AllOf(StartsWith("2 "), HasSubstr("every database has a lease of that number")));
  EXPECT_THAT(refusal("4-0123456789abcdef"), AllOf(StartsWith("1 "), HasSubstr("another event 4")));
  EXPECT_THAT(refusal("4711" + mark), AllOf(StartsWith("1 "), HasSubstr("no event 4711")));
  EXPECT_EQ(dbcache("history --json").out, before);
}

}  // namespace
}  // namespace dbcache::cli
