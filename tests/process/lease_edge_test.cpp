// Leases where things meet that seldom do: leftovers of a creation, clusters that two entries
// share, leases that ended around a process, calls that are stopped midway.

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "lease_scene.hpp"
#include "support/files.hpp"
#include "support/manual_clock.hpp"

namespace dbcache {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ClusterConfig config(const std::string& name) { return {{"cluster_name", name}}; }

ClusterLifecycle creating(const std::string& cluster_id) {
  ClusterLifecycle lifecycle;
  lifecycle.create = [cluster_id](const ClusterConfig&, Creation&) { return cluster_id; };
  return lifecycle;
}

std::ptrdiff_t threads_that_wait_for_a_lock() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::count_if(begin(tasks), end(tasks), [](const auto& task) {
    std::string name;  // stays empty where the thread ends meanwhile
    std::getline(std::ifstream(task.path() / "comm"), name);
    return name == "dbcache-wait";
  });
}

AcquireOptions handing_back() {
  AcquireOptions options;
  options.policy = HandBackPolicy::hand_back;
  return options;
}

class LeaseEdge : public ::testing::Test {
 protected:
  [[nodiscard]] Options options() const { return database_.options({.clock = clock_.clock()}); }
  [[nodiscard]] bool exists() const { return database_.exists(); }
  [[nodiscard]] std::size_t count(const std::string& type) const {
    return manager_.history({.types = {type}}).size();
  }

  test::BareEnvironment environment_;
  test::ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  test::TestDatabase database_;
  test::ManualClock clock_;
  CacheManager manager_{options()};
  SharedClusters clusters_{manager_};
};

TEST_F(LeaseEdge, StartedForACreationThatNeverWasOwesNothing) {
  EXPECT_THROW(clusters_.creation_started("some-hash", 7, "production"), NotFound);
  EXPECT_FALSE(exists());
  clusters_.acquire(config("a"), creating("c-1")).release();
  EXPECT_THROW(clusters_.creation_started("some-hash", 1, "production"), NotFound);
  EXPECT_THROW(clusters_.creation_started(config_hash(config("a")), 2, "production"), NotFound);
  EXPECT_THROW(clusters_.creation_started(config_hash(config("a")), -1, "production"), NotFound);
  EXPECT_THAT(clusters_.owed(), IsEmpty());
}

TEST_F(LeaseEdge, RenewingWithoutADatabaseMakesNone) {
  EXPECT_THROW(clusters_.renew_lease("17-0123456789abcdef", std::chrono::hours(1)), NotFound);
  EXPECT_THROW(clusters_.release_lease("17-0123456789abcdef"), NotFound);
  EXPECT_FALSE(exists());
}

TEST_F(LeaseEdge, ALeaseAroundTheProcessIsJoinedAndStaysWhatItIs) {
  const ClusterLease around = clusters_.acquire(config("a"), creating("c-1"));
  const std::string name = around.name();
  const test::ScopedVariable exported("DBCACHE_LEASE", name);
  const test::ScopedVariable of_run("DBCACHE_RUN_LEASE", name);
  ClusterLease joined = clusters_.acquire(config("a"), creating("c-2"));
  EXPECT_EQ(joined.fencing_token(), around.fencing_token());
  joined.hold_for(std::chrono::hours(1));
  EXPECT_TRUE(clusters_.release_lease(around.name()).of_surrounding_run);
  EXPECT_TRUE(clusters_.release_lease(around.fencing_token()).of_surrounding_run);
  EXPECT_FALSE(around.lost());
  EXPECT_THAT(manager_.history({.types = {"LeaseRenewed", "LeaseReleased"}}), IsEmpty());
}

TEST_F(LeaseEdge, TheReleaseOfAJoinedLeaseTellsThatItEndsWithItsRun) {
  const ClusterLease around = clusters_.acquire(config("a"), creating("c-1"));
  const std::string name = around.name();
  const test::ScopedVariable exported("DBCACHE_LEASE", name);
  ClusterLease of_a_guard = clusters_.acquire(config("a"), creating("c-2"));
  EXPECT_FALSE(of_a_guard.release().of_surrounding_run);
  const test::ScopedVariable of_run("DBCACHE_RUN_LEASE", name);
  ClusterLease joined = clusters_.acquire(config("a"), creating("c-2"));
  const ReleaseReport report = joined.release();
  EXPECT_TRUE(report.of_surrounding_run);
  EXPECT_FALSE(report.was_held);
  EXPECT_FALSE(joined.release().of_surrounding_run);  // once is enough
  EXPECT_FALSE(around.lost());
}

TEST_F(LeaseEdge, ALeaseAroundTheProcessThatHasADeadlineOrHasEndedIsNotJoined) {
  ClusterLease around = clusters_.acquire(config("a"), creating("c-1"), handing_back());
  const std::int64_t number = around.fencing_token();
  const std::string name = around.name();
  around.hold_for(std::chrono::seconds(1));
  const test::ScopedVariable exported("DBCACHE_LEASE", name);
  const ClusterLease own = clusters_.acquire(config("a"), creating("c-2"));
  EXPECT_NE(own.fencing_token(), number);
  EXPECT_EQ(own.cluster_id(), "c-1");
  clock_.advance(std::chrono::seconds(2));
  EXPECT_NE(clusters_.acquire(config("a"), creating("c-2")).fencing_token(), number);
}

TEST_F(LeaseEdge, ALeaseAroundTheProcessOnAnotherClusterThanItsOwnIsNotJoined) {
  ClusterLease around = clusters_.acquire(config("a"), creating("c-1"));
  const test::ScopedVariable exported("DBCACHE_LEASE", around.name());
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "another");
  EXPECT_EQ(clusters_.acquire(config("a"), creating("c-2")).cluster_id(), "another");
}

TEST_F(LeaseEdge, WhoUsesAClusterStandsInItsHistory) {
  const test::ScopedVariable token("DATABRICKS_TOKEN", "dapi0123456789abcdef");
  ClusterLease lease = clusters_.acquire(config("a"), creating("c-1"));
  manager_.cache_new_cluster("another");  // so that this one is not the active one
  lease.note_use("test_1");
  lease.note_use("test_2[dapi0123456789abcdef]");
  const auto uses = manager_.history({.subject = "c-1", .types = {"ClusterUsed"}});
  ASSERT_THAT(uses, SizeIs(2));
  EXPECT_EQ(uses[0].payload, R"({"schema":1,"cluster_id":"c-1","lease":)" +
                                 std::to_string(lease.fencing_token()) + R"(,"by":"test_1"})");
  EXPECT_THAT(uses[1].payload, ::testing::HasSubstr(R"("by":"test_2[[redacted]]")"));
  EXPECT_TRUE(manager_.replay({.mode = ReplayMode::check}).differences.empty());

  lease.release();
  EXPECT_THROW(lease.note_use("test_3"), LeaseLost);
  EXPECT_THROW(ClusterLease().note_use("test_4"), LeaseLost);
  EXPECT_EQ(count("ClusterUsed"), 2U);
}

// A watcher asks `lost` while tests note what they use, and the fixture releases.
TEST_F(LeaseEdge, OthersLookAtALeaseAndNoteUsesWhileItIsReleased) {
  for (int round = 0; round < 20; ++round) {
    ClusterLease lease = clusters_.acquire(config("a"), creating("c-1"));
    std::latch begun(3);
    std::atomic<bool> released = false;
    const std::jthread looking([&] {
      begun.arrive_and_wait();
      while (!released) {
        EXPECT_FALSE(lease.lost());
        static_cast<void>(lease.lock_descriptor());
      }
    });
    const std::jthread noting([&] {
      begun.arrive_and_wait();
      try {
        for (;;) lease.note_use("test");
      } catch (const LeaseLost&) {
      }
    });
    begun.arrive_and_wait();
    EXPECT_TRUE(lease.release().was_held);
    released = true;
    EXPECT_EQ(lease.lock_descriptor(), -1);
  }
}

TEST_F(LeaseEdge, AUseIsOfTheLeaseAroundTheProcessOrOfAClusterThatWasGiven) {
  const ClusterLease around = clusters_.acquire(config("a"), creating("c-1"));
  {
    const test::ScopedVariable exported("DBCACHE_LEASE", around.name());
    clusters_.acquire(config("a"), creating("c-2")).note_use("test_1");
  }
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "given");
  clusters_.acquire(config("a"), creating("c-2")).note_use("test_2");
  EXPECT_THAT(manager_.history({.subject = "c-1", .types = {"ClusterUsed"}}), SizeIs(1));
  EXPECT_THAT(manager_.history({.subject = "given", .types = {"ClusterUsed"}}), SizeIs(1));
}

TEST_F(LeaseEdge, AUseOfAClusterThatWasFoundDeadIsRefused) {
  ClusterLease lease = clusters_.acquire(config("a"), creating("c-1"));
  clusters_.acquire(config("a"), creating("c-1")).report_dead();
  EXPECT_THROW(lease.note_use("test_1"), LeaseLost);
}

TEST_F(LeaseEdge, AClusterOfTwoEntriesIsOwedByTheLastAndOnce) {
  clusters_.acquire(config("kept"), creating("c-1")).release();
  clusters_.acquire(config("handed back"), creating("c-1"), handing_back()).release();
  EXPECT_THAT(clusters_.owed(), IsEmpty());
  EXPECT_THAT(manager_.get_all_clusters(), SizeIs(1));
  EXPECT_THAT(manager_.get_all_shared_clusters(), SizeIs(1));

  clusters_.acquire(config("kept too"), creating("c-1")).release();
  EXPECT_EQ(manager_.clear_cluster_cache(), 1U);
  EXPECT_EQ(count("TerminationOwed"), 1U);
  EXPECT_EQ(count("ClusterRemoved"), 1U);
  EXPECT_THAT(manager_.get_all_shared_clusters(), IsEmpty());
}

TEST_F(LeaseEdge, WhatCreateLeavesBehindDoesNotHoldTheLease) {
  test::Pipe input;  // what is left behind lives until this ends
  test::Worker holder([&](const test::Actor& actor) {
    input.close_write();
    SharedClusters shared(options());
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation& creation) {
      test::spawn_with(creation.lock_descriptor(), input);
      return std::string("c-1");
    };
    const ClusterLease lease = shared.acquire(config("a"), lifecycle, handing_back());
    actor.tell_and_wait("holds");
  });
  ASSERT_EQ(holder.next(), "holds");
  holder.kill();
  EXPECT_THAT(clusters_.owed(), SizeIs(1));
  EXPECT_THAT(clusters_.leases().leases, IsEmpty());
}

TEST_F(LeaseEdge, AnAcquireThatIsStoppedSettlesNoMore) {
  for (const char* name : {"x", "y", "z"}) {
    clusters_.acquire(config(name), creating(name), handing_back()).release();
  }
  std::stop_source stop;
  ClusterLifecycle lifecycle = creating("c-1");
  std::vector<std::string> terminated;
  lifecycle.terminate = [&](const Termination& termination) {
    terminated.push_back(termination.owed.subject);
    stop.request_stop();
  };
  AcquireOptions stopped;
  stopped.stop = stop.get_token();
  stopped.afterwards = Afterwards::exit;
  const ClusterLease lease = clusters_.acquire(config("a"), lifecycle, stopped);
  EXPECT_THAT(terminated, ElementsAre("x"));
  const auto owed = clusters_.owed();
  ASSERT_THAT(owed, SizeIs(2));
  for (const OwedTermination& left : owed) EXPECT_EQ(left.attempts, 0);
}

TEST_F(LeaseEdge, ACheckIsAnsweredAlsoWhereTheAcquireIsCancelledMeanwhile) {
  clusters_.acquire(config("a"), creating("c-1")).release();
  std::stop_source stop;
  ClusterLifecycle lifecycle = creating("c-2");
  lifecycle.check = [&](const std::string&) {
    stop.request_stop();
    return false;
  };
  AcquireOptions stopped;
  stopped.stop = stop.get_token();
  EXPECT_THROW(clusters_.acquire(config("a"), lifecycle, stopped), Cancelled);
  EXPECT_THAT(clusters_.leases().leases, IsEmpty());
  EXPECT_THAT(manager_.get_all_clusters(), IsEmpty());  // it was found dead
}

TEST_F(LeaseEdge, WaitsThatAreGivenUpLeaveOneThreadBehindAtMost) {
  const test::Worker creator([&](const test::Actor& actor) {
    SharedClusters shared(options());
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation&) {
      actor.tell_and_wait("creating");
      return std::string("c-1");
    };
    shared.acquire(config("a"), lifecycle);
  });
  ASSERT_EQ(creator.next(), "creating");
  // In a child, since this process is to fork again.
  const std::string left = test::in_child([&] {
    SharedClusters shared(options());
    AcquireOptions impatient;
    impatient.timeout = std::chrono::milliseconds(1);
    const auto give_up_a_wait = [&] {
      EXPECT_THROW(shared.acquire(config("a"), creating("c-2"), impatient), Timeout);
    };
    // A busy machine may take the whole millisecond before the wait begins.
    while (threads_that_wait_for_a_lock() == 0) give_up_a_wait();
    for (int attempt = 0; attempt < 20; ++attempt) give_up_a_wait();
    return std::to_string(threads_that_wait_for_a_lock());
  });
  EXPECT_EQ(left, "1");
  creator.go();
}

TEST_F(LeaseEdge, AUserWithoutRightsMakesNoFileThatLocksTheOwnerOut) {
  if (!test::is_root()) GTEST_SKIP() << "only root can become another user";
  manager_.cache_new_cluster("c-1");
  ASSERT_EQ(::chmod(database_.directory().c_str(), 01777), 0);
  ASSERT_EQ(::chmod(database_.location().c_str(), 0600), 0);
  const std::string error = test::in_child_as_ordinary_user([&] {
    return test::error_of([&] { return SharedClusters(options()).join_run("nightly").id(); });
  });
  EXPECT_THAT(error, ::testing::HasSubstr("you may not write the database"));
  EXPECT_FALSE(std::filesystem::exists(database_.location() + "-locks"));
}

}  // namespace
}  // namespace dbcache
