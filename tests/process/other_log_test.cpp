// The log under a process becomes another one: the database was wiped and made anew, or it lost its
// last events. What the process held has the same small numbers there, and must touch nothing.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "lease_scene.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ClusterConfig config() { return {{"cluster_name", "c"}}; }

AcquireOptions handing_back() {
  AcquireOptions options;
  options.policy = HandBackPolicy::hand_back;
  return options;
}

enum class Fate { wiped, lost_its_end };

class OtherLog : public ::testing::TestWithParam<Fate> {
 protected:
  OtherLog() { clusters_.join_run("before", "process").leave(); }

  [[nodiscard]] ClusterLifecycle lifecycle(const std::string& cluster_id) {
    ClusterLifecycle lifecycle;
    lifecycle.create = [cluster_id](const ClusterConfig&, Creation&) { return cluster_id; };
    lifecycle.terminate = [this](const Termination& termination) {
      terminated_.push_back(termination.owed.cluster_id.value_or("?"));
    };
    return lifecycle;
  }

  /// Another job follows, on the log that is there from now on: it takes the same steps, by
  /// `same_steps`, so that it holds what has the same numbers.
  void change_log(const std::function<void()>& same_steps) {
    if (GetParam() == Fate::wiped) {
      database_.wipe();
      clusters_.join_run("before", "process").leave();
    } else {
      database_.lose_events_after(2);
      manager_.replay();
    }
    same_steps();
    events_ = manager_.history({}).size();
  }
  void change_log_under(const ClusterLease& held) {
    change_log([&] {
      theirs_.emplace(clusters_.acquire(config(), lifecycle("c-theirs"), handing_back()));
      ASSERT_EQ(theirs_->fencing_token(), held.fencing_token());
    });
  }

  void expect_that_nothing_was_touched() {
    EXPECT_THAT(manager_.history({}), SizeIs(events_));
    if (theirs_) {
      EXPECT_FALSE(theirs_->lost());
    }
    EXPECT_TRUE(manager_.replay({.mode = ReplayMode::check}).differences.empty());
  }

  static std::string error_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const LeaseLost& error) {
      return std::string("LeaseLost ") + error.what();
    } catch (const NotFound& error) {
      return std::string("NotFound ") + error.what();
    }
    return "";
  }

  test::BareEnvironment environment_;
  test::ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  test::TestDatabase database_;
  CacheManager manager_{database_.options()};
  SharedClusters clusters_{manager_};
  std::vector<std::string> terminated_;
  std::optional<ClusterLease> theirs_;
  std::size_t events_ = 0;
};

TEST_P(OtherLog, ALeaseIsLostAndTellsItsCluster) {
  ClusterLease ours = clusters_.acquire(config(), lifecycle("c-ours"), handing_back());
  change_log_under(ours);

  EXPECT_TRUE(ours.lost());
  const auto lost = AllOf(HasSubstr("LeaseLost the lease " + ours.name()),
                          HasSubstr("the cluster c-ours is nobody's now"));
  EXPECT_THAT(error_of([&] { ours.note_use("test"); }), lost);
  EXPECT_THAT(error_of([&] { ours.report_dead(); }), lost);
  EXPECT_THAT(error_of([&] { ours.hold_for(std::chrono::hours(1)); }), lost);
  EXPECT_THAT(error_of([&] { ours.release(); }), lost);

  expect_that_nothing_was_touched();
  EXPECT_THAT(terminated_, IsEmpty());  // others may have joined it
  theirs_->release();
  EXPECT_THAT(terminated_, ElementsAre("c-theirs"));
}

TEST_P(OtherLog, ALeaseThatIsDestroyedTouchesNothing) {
  std::optional<ClusterLease> ours =
      clusters_.acquire(config(), lifecycle("c-ours"), handing_back());
  change_log_under(*ours);
  ours.reset();
  expect_that_nothing_was_touched();
  EXPECT_THAT(terminated_, IsEmpty());
}

TEST_P(OtherLog, ANameFitsNothingElse) {
  ClusterLease ours = clusters_.acquire(config(), lifecycle("c-ours"), handing_back());
  const std::string name = ours.name();
  ours.hold_for(std::chrono::hours(1));
  change_log([&] {
    ClusterLease theirs = clusters_.acquire(config(), lifecycle("c-theirs"), handing_back());
    ASSERT_EQ(theirs.fencing_token(), ours.fencing_token());
    ASSERT_NE(theirs.name(), name);
    theirs.hold_for(std::chrono::hours(1));
  });
  const auto not_found = HasSubstr("NotFound the lease " + name);
  EXPECT_THAT(error_of([&] { clusters_.release_lease(name, lifecycle("")); }), not_found);
  EXPECT_THAT(error_of([&] { clusters_.renew_lease(name, std::chrono::hours(2)); }), not_found);
  EXPECT_THROW(clusters_.release_lease(ours.fencing_token(), lifecycle("")), InvalidArgument);
  const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-ours");
  EXPECT_THAT(error_of([&] { clusters_.release_lease(ours.fencing_token(), lifecycle("")); }),
              HasSubstr("NotFound"));
  EXPECT_THAT(terminated_, IsEmpty());
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, ALeaseAroundTheProcessIsNotTakenForTheirs) {
  const ClusterLease ours = clusters_.acquire(config(), lifecycle("c-ours"), handing_back());
  change_log_under(ours);
  for (const std::string& left_over : {ours.name(), std::to_string(ours.fencing_token())}) {
    const test::ScopedVariable exported("DBCACHE_LEASE", left_over);
    const ClusterLease own = clusters_.acquire(config(), lifecycle("c-own"));
    EXPECT_NE(own.fencing_token(), theirs_->fencing_token());
    EXPECT_GE(own.lock_descriptor(), 0);
  }
}

TEST_P(OtherLog, ACreatorTerminatesItsClusterAlone) {
  ClusterLifecycle creating = lifecycle("");
  std::int64_t ours = 0;
  creating.create = [&](const ClusterConfig&, Creation& creation) {
    ours = creation.fencing_token();
    change_log([&] {
      theirs_.emplace(clusters_.acquire(config(), lifecycle("c-theirs"), handing_back()));
    });
    return "c-ours";
  };
  const std::string error =
      error_of([&] { clusters_.acquire(config(), creating, handing_back()); });
  EXPECT_THAT(error, AllOf(HasSubstr("LeaseLost the creation " + std::to_string(ours) + "-"),
                           HasSubstr("its cluster c-ours was terminated")));
  EXPECT_THAT(terminated_, ElementsAre("c-ours"));
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, ACreatorThatFailsTerminatesWhatItHadStarted) {
  ClusterLifecycle creating = lifecycle("");
  creating.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
    change_log([&] {
      theirs_.emplace(clusters_.acquire(config(), lifecycle("c-theirs"), handing_back()));
    });
    creation.started("c-ours");
    return "never";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), creating, handing_back()); }),
              HasSubstr("LeaseLost the creation"));
  EXPECT_THAT(terminated_, ElementsAre("c-ours"));
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, ACreatorThatFailsWithoutAnIdTerminatesByItsToken) {
  ClusterLifecycle creating = lifecycle("");
  std::string token;
  std::vector<std::string> terminated;
  creating.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
    token = creation.idempotency_token();
    change_log([&] {
      theirs_.emplace(clusters_.acquire(config(), lifecycle("c-theirs"), handing_back()));
    });
    throw std::runtime_error("no answer");
  };
  creating.terminate = [&](const Termination& termination) {
    EXPECT_EQ(termination.owed.cluster_id, std::nullopt);
    terminated.push_back(termination.owed.idempotency_token.value_or(""));
  };
  EXPECT_THROW(clusters_.acquire(config(), creating, handing_back()), std::runtime_error);
  EXPECT_THAT(terminated, ElementsAre(token));
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, ACreatorLeavesAClusterThatTheLogHas) {
  ClusterLifecycle creating = lifecycle("");
  creating.create = [&](const ClusterConfig&, Creation&) {
    change_log(
        [&] { theirs_.emplace(clusters_.acquire(config(), lifecycle("c-same"), handing_back())); });
    return "c-same";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), creating, handing_back()); }),
              HasSubstr("its cluster c-same is one of the database's now"));
  EXPECT_THAT(terminated_, IsEmpty());
  expect_that_nothing_was_touched();
}

/// What `create` found running, for another configuration, is not its own.
TEST_P(OtherLog, ACreatorLeavesAClusterThatAnotherConfigurationHad) {
  const ClusterLease used =
      clusters_.acquire({{"num_workers", 2}}, lifecycle("c-used"), handing_back());
  ClusterLifecycle creating = lifecycle("");
  creating.create = [&](const ClusterConfig&, Creation& creation) {
    creation.started("c-used");
    change_log([] {});
    return "c-used";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), creating, handing_back()); }),
              HasSubstr("its cluster c-used served another configuration too"));
  EXPECT_THAT(terminated_, IsEmpty());
}

/// dbcache never terminates a cluster of DATABRICKS_CLUSTER_ID.
TEST_P(OtherLog, ACreatorLeavesAClusterThatIsLeasedAsTheUsersOwn) {
  std::optional<ClusterLease> used;
  {
    const test::ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-used");
    used.emplace(clusters_.acquire({{"num_workers", 2}}, lifecycle("")));
  }
  ClusterLifecycle creating = lifecycle("");
  creating.create = [&](const ClusterConfig&, Creation& creation) {
    creation.started("c-used");
    change_log([] {});
    return "c-used";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), creating, handing_back()); }),
              HasSubstr("its cluster c-used served another configuration too"));
  EXPECT_THAT(terminated_, IsEmpty());
}

TEST_P(OtherLog, ACreatorThatTakesOverLeavesAClusterThatAnotherConfigurationHad) {
  const ClusterLease used =
      clusters_.acquire({{"num_workers", 2}}, lifecycle("c-used"), handing_back());
  test::ChildProcess first([&] {
    ClusterLifecycle dying;
    dying.create = [](const ClusterConfig&, Creation& creation) -> std::string {
      creation.started("c-used");
      ::_exit(0);
    };
    SharedClusters(database_.options()).acquire(config(), dying);
    return 1;
  });
  ASSERT_EQ(first.wait(), 0);
  ClusterLifecycle again = lifecycle("");
  again.create = [&](const ClusterConfig&, Creation& creation) {
    EXPECT_EQ(creation.started_cluster_id(), "c-used");
    change_log([] {});
    return "c-used";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), again, handing_back()); }),
              HasSubstr("its cluster c-used served another configuration too"));
  EXPECT_THAT(terminated_, IsEmpty());
}

/// The log that lost its end still has the first creation, whose token the second one goes on with.
TEST_P(OtherLog, ATokenThatTheLogHasIsNotTerminated) {
  ClusterLifecycle failing = lifecycle("");
  failing.create = [](const ClusterConfig&, Creation&) -> std::string {
    throw std::runtime_error("no answer");
  };
  failing.terminate = nullptr;
  EXPECT_THROW(clusters_.acquire(config(), failing), std::runtime_error);
  const std::int64_t failed = manager_.history({}).back().position;
  ClusterLifecycle again = lifecycle("");
  again.create = [&](const ClusterConfig&, Creation&) {
    database_.lose_events_after(failed);
    manager_.replay();
    return "c-of-the-token";
  };
  EXPECT_THAT(error_of([&] { clusters_.acquire(config(), again, handing_back()); }),
              HasSubstr("is one of the database's now"));
  EXPECT_THAT(terminated_, IsEmpty());
}

TEST_P(OtherLog, ACheckAnswersForItsOwnLogAlone) {
  ClusterLifecycle checked = lifecycle("c-same");
  checked.check = [&](const std::string&) {
    change_log(
        [&] { theirs_.emplace(clusters_.acquire(config(), lifecycle("c-same"), handing_back())); });
    return false;
  };
  ClusterLease ours = clusters_.acquire(config(), checked);
  EXPECT_TRUE(ours.report_dead());
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, ATerminationIsRecordedInItsOwnLogAlone) {
  ClusterLifecycle ending = lifecycle("c-same");
  ending.terminate = [&](const Termination&) {
    change_log([&] {
      ClusterLifecycle failing = lifecycle("c-same");
      failing.terminate = [](const Termination&) { throw std::runtime_error("403"); };
      clusters_.acquire(config(), failing, handing_back()).release();
    });
  };
  EXPECT_TRUE(clusters_.acquire(config(), ending, handing_back()).release().settled);
  EXPECT_THAT(clusters_.owed(), SizeIs(1));
  expect_that_nothing_was_touched();
}

TEST_P(OtherLog, AParticipantLeavesItsOwnLogAlone) {
  RunMembership ours = clusters_.join_run("nightly", "worker");
  std::optional<RunMembership> theirs;
  change_log([&] {
    theirs.emplace(clusters_.join_run("nightly", "worker"));
    ASSERT_EQ(theirs->id(), ours.id());
  });
  EXPECT_NE(ours.name(), theirs->name());
  EXPECT_THAT(ours.leave(), IsEmpty());
  EXPECT_THAT(clusters_.leases().participants, SizeIs(1));
  expect_that_nothing_was_touched();
}

INSTANTIATE_TEST_SUITE_P(Fates, OtherLog, ::testing::Values(Fate::wiped, Fate::lost_its_end),
                         [](const auto& of) {
                           return of.param == Fate::wiped ? "Wiped" : "LostItsEnd";
                         });

/// A wiped database that nobody has made anew.
TEST(NoLog, NothingIsMadeByWhatHadItsNameInIt) {
  const test::BareEnvironment environment;
  const test::TestDatabase database;
  SharedClusters clusters(database.options());
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return "c-ours"; };
  ClusterLease lease = clusters.acquire(config(), lifecycle);
  RunMembership member = clusters.join_run("nightly", "worker");
  database.wipe();
  EXPECT_TRUE(lease.lost());
  EXPECT_THROW(lease.note_use("test"), LeaseLost);
  EXPECT_THROW(lease.hold_for(std::chrono::hours(1)), LeaseLost);
  EXPECT_THROW(lease.release(), LeaseLost);
  EXPECT_THAT(member.leave(), IsEmpty());
  EXPECT_FALSE(database.exists());
}

}  // namespace
}  // namespace dbcache
