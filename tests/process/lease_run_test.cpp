#include "lease_scene.hpp"

// Runs and their participants, leases that come with the environment, and leases in forked
// children.
namespace dbcache {
namespace {

using test::Actor;
using test::ScopedVariable;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LeaseRun : public test::LeaseScene {
 protected:
  static AcquireOptions of_run(const std::string& run) {
    return {.policy = HandBackPolicy::hand_back, .run = run};
  }

  Worker& start_participant(const std::string& run) {
    Worker& participant = start([&](const Actor& actor, SharedClusters& clusters) {
      RunMembership membership = clusters.join_run(run, "worker", "gw0");
      actor.tell_and_wait("takes part");
      for (const std::string& owed : membership.leave()) actor.tell("owes " + owed);
    });
    EXPECT_EQ(participant.next(), "takes part");
    return participant;
  }

  /// Creates a cluster for the run, and lets it go.
  std::string use_cluster(const AcquireOptions& how, const ClusterConfig& what = config()) {
    Worker& holder = start_holder(what, how);
    const std::string cluster = cluster_of(token_in(holder.next_of("creates")));
    EXPECT_EQ(holder.next(), "granted " + cluster + " created");
    EXPECT_EQ(holder.finish(), 0);
    return cluster;
  }

  [[nodiscard]] std::vector<LeaseInfo> leases() const {
    return SharedClusters(options()).leases().leases;
  }
  [[nodiscard]] bool is_ready() const {
    const auto entry = CacheManager(options()).get_shared_cluster_info(config_hash(config()));
    return entry && entry->status == RegistryStatus::ready;
  }
};

TEST_F(LeaseRun, KeepsItsClusterWhileAParticipantLives) {
  Worker& participant = start_participant("nightly");
  const std::string cluster = use_cluster(of_run("nightly"));

  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_TRUE(is_ready());

  participant.go();
  EXPECT_THAT(participant.rest(), ElementsAre("owes " + cluster));
  EXPECT_THAT(owed_words(), ElementsAre(cluster + " handed_back"));
  expect_sound();
}

TEST_F(LeaseRun, HandsItsClusterBackWhenItsLastParticipantWasKilled) {
  Worker& first = start_participant("nightly");
  Worker& last = start_participant("nightly");
  const std::string cluster = use_cluster(of_run("nightly"));

  first.kill();
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_TRUE(is_ready());
  const auto participants = SharedClusters(options()).leases().participants;
  ASSERT_THAT(participants, SizeIs(1));
  EXPECT_EQ(participants[0].holder.pid, last.pid());
  EXPECT_TRUE(participants[0].holder.alive);
  EXPECT_EQ(participants[0].run, "nightly");
  EXPECT_EQ(participants[0].kind, "worker");
  EXPECT_EQ(participants[0].name, "gw0");

  last.kill();
  EXPECT_THAT(owed_words(), ElementsAre(cluster + " handed_back"));
  EXPECT_FALSE(is_ready());
  EXPECT_EQ(count_in_log("RunLeft died"), 2);
  expect_sound();
}

TEST_F(LeaseRun, OfAnotherNameKeepsNothing) {
  Worker& participant = start_participant("another");

  const std::string cluster = use_cluster(of_run("nightly"));

  EXPECT_THAT(owed_words(), ElementsAre(cluster + " handed_back"));
  participant.go();
  EXPECT_THAT(participant.rest(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseRun, IsOverForAClusterOnlyWhenNoneOfItsRunsGoesOn) {
  Worker& one = start_participant("one");
  Worker& two = start_participant("two");
  Worker& holder = start_holding(config(), of_run("one"));
  Worker& other = start_holding(config(), of_run("two"));
  EXPECT_EQ(holder.finish(), 0);
  EXPECT_EQ(other.finish(), 0);

  one.kill();
  EXPECT_THAT(owed(), IsEmpty());

  two.kill();
  EXPECT_THAT(owed(), SizeIs(1));
  expect_sound();
}

TEST_F(LeaseRun, MayEndBeforeTheLastLease) {
  Worker& participant = start_participant("nightly");
  Worker& holder = start_holding(config(), of_run("nightly"));
  participant.go();
  EXPECT_THAT(participant.rest(), IsEmpty());

  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(holder.finish(), 0);

  EXPECT_THAT(owed(), SizeIs(1));
  expect_sound();
}

// ---- The environment

class LeaseOfEnvironment : public LeaseRun {
 protected:
  static ClusterLifecycle without_creation() {
    return {.create = [](const ClusterConfig&, Creation&) -> std::string {
      ADD_FAILURE() << "nothing was to be created";
      return "c-created";
    }};
  }
};

TEST_F(LeaseOfEnvironment, ADefaultClusterIsLeasedAndNeverHandedBack) {
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-default");
  SharedClusters clusters(options());
  ClusterLifecycle lifecycle = without_creation();
  lifecycle.check = [](const std::string&) -> bool {
    ADD_FAILURE() << "nothing was to be checked";
    return false;
  };
  lifecycle.terminate = [](const Termination&) { ADD_FAILURE() << "nothing was to be terminated"; };

  ClusterLease first = clusters.acquire(config(), lifecycle, {.policy = HandBackPolicy::hand_back});
  ClusterLease second = clusters.acquire(config("another"), lifecycle);

  EXPECT_EQ(first.cluster_id(), "c-default");
  EXPECT_EQ(second.cluster_id(), "c-default");
  EXPECT_EQ(first.config_hash(), "cluster-id-c-default");
  EXPECT_FALSE(first.created_here());
  EXPECT_LT(first.fencing_token(), second.fencing_token());
  EXPECT_THAT(CacheManager(options()).get_all_clusters(), IsEmpty());
  EXPECT_THAT(leases(), SizeIs(2));
  EXPECT_FALSE(second.release().was_last);
  const ReleaseReport last = first.release();
  EXPECT_TRUE(last.was_last);
  EXPECT_EQ(last.owed, std::nullopt);
  EXPECT_THAT(CacheManager(options()).get_all_shared_clusters(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseOfEnvironment, AKilledHolderOfADefaultClusterLeavesNothing) {
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-default");
  Worker& doomed = start_holding(config(), of_run("nightly"));
  ASSERT_THAT(leases(), SizeIs(1));

  doomed.kill();

  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_THAT(CacheManager(options()).get_all_shared_clusters(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseOfEnvironment, AReportOnADefaultClusterEndsItsLeasesAndOwesNothing) {
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-default");
  SharedClusters clusters(options());
  ClusterLease lease = clusters.acquire(config(), without_creation());

  EXPECT_TRUE(lease.report_dead());

  EXPECT_TRUE(lease.lost());
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseOfEnvironment, ANestedAcquireJoinsTheSurroundingLease) {
  Worker& outer = start_holding(config(), of_run("nightly"));
  const LeaseInfo held = leases().at(0);
  // As `dbcache run` exports them.
  const ScopedVariable number("DBCACHE_LEASE", held.name);
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", held.cluster_id);
  forget_log();
  SharedClusters clusters(options());
  {
    ClusterLease nested = clusters.acquire(config(), without_creation());
    EXPECT_EQ(nested.cluster_id(), held.cluster_id);
    EXPECT_EQ(nested.fencing_token(), held.lease);
    EXPECT_EQ(nested.config_hash(), config_hash(config()));
    EXPECT_EQ(nested.lock_descriptor(), -1);
    EXPECT_FALSE(nested.lost());
    nested.hold_for(std::chrono::hours{1});  // it stays what it is
    EXPECT_FALSE(nested.release().was_held);
  }
  EXPECT_THAT(log(), IsEmpty());
  EXPECT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(outer.finish(), 0);
  EXPECT_THAT(owed(), SizeIs(1));
  expect_sound();
}

TEST_F(LeaseOfEnvironment, ANestedAcquireOfAnotherConfigurationHasAClusterOfItsOwn) {
  Worker& outer = start_holding(config());
  const LeaseInfo held = leases().at(0);
  const ScopedVariable number("DBCACHE_LEASE", held.name);
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", held.cluster_id);

  Worker& nested = start_holder(config("another"));

  const std::string own = cluster_of(token_in(nested.next_of("creates")));
  EXPECT_NE(own, held.cluster_id);
  EXPECT_EQ(nested.next(), "granted " + own + " created");
  EXPECT_EQ(nested.finish(), 0);
  EXPECT_EQ(outer.finish(), 0);
  expect_sound();
}

TEST_F(LeaseOfEnvironment, ANestedAcquireUnderADefaultClusterJoinsItsLease) {
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", "c-default");
  Worker& outer = start_holding(config());
  const ScopedVariable number("DBCACHE_LEASE", leases().at(0).name);
  forget_log();

  SharedClusters clusters(options());
  EXPECT_EQ(clusters.acquire(config(), without_creation()).cluster_id(), "c-default");

  EXPECT_THAT(log(), IsEmpty());
  EXPECT_EQ(outer.finish(), 0);
  expect_sound();
}

TEST_F(LeaseOfEnvironment, ASurroundingLeaseThatHasEndedIsNoLease) {
  const std::string before = use_cluster({});
  const std::int64_t ended = happenings().back().payload.at("lease").as_int64();
  const ScopedVariable number("DBCACHE_LEASE", std::to_string(ended));

  SharedClusters clusters(options());
  const ClusterLease lease = clusters.acquire(config(), without_creation());

  EXPECT_EQ(lease.cluster_id(), before);
  EXPECT_GT(lease.fencing_token(), ended);
  EXPECT_GE(lease.lock_descriptor(), 0);
}

// ---- Forked children

TEST_F(LeaseRun, ALeaseInAForkedChildIsNothing) {
  SharedClusters clusters(options());
  ClusterLease lease = clusters.acquire(
      config(), {.create = [](const ClusterConfig&, Creation&) { return std::string("c-1"); }},
      {.policy = HandBackPolicy::hand_back});
  RunMembership membership = clusters.join_run("nightly");
  forget_log();

  const std::string told = test::in_child([&] {
    std::string words;
    words += lease.cluster_id() + " " + std::to_string(lease.lock_descriptor());
    words += lease.lost() ? " lost" : " not-lost";
    words += lease.report_dead() ? " reported" : " not-reported";
    words += lease.release().was_held ? " released" : " not-released";
    const std::string held = test::error_of([&] {
      lease.hold_for(std::chrono::hours{1});
      return 0;
    });
    words += " " + held.substr(0, held.find(':'));
    words += " " + std::to_string(membership.leave().size());
    ClusterLease moved = std::move(lease);
    moved = ClusterLease();  // as its destructor would
    membership = RunMembership();
    return words;
  });

  EXPECT_EQ(told, "c-1 -1 not-lost not-reported not-released LeaseLost 0");
  EXPECT_THAT(log(), IsEmpty());
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_TRUE(leases()[0].holder.alive);
  EXPECT_FALSE(lease.lost());
  EXPECT_THAT(membership.leave(), IsEmpty());
  const ReleaseReport released = lease.release();
  EXPECT_TRUE(released.was_held);
  EXPECT_TRUE(released.was_last);
  EXPECT_EQ(released.owed, "c-1");
  expect_sound();
}

TEST_F(LeaseRun, AForkedChildLeasesForItselfAndOutlivesItsParent) {
  test::Pipe to_child;
  Worker& parent = start([&](const Actor& actor, SharedClusters& clusters) {
    const ClusterLease lease = clusters.acquire(config(), telling(actor), patient(actor));
    if (::fork() == 0) {
      test::name_sessions("child of a worker");
      to_child.close_write();
      ClusterLease own = clusters.acquire(config(), telling(actor), patient(actor));
      actor.tell(granted(own));
      to_child.wait();
      actor.tell(own.release().was_last ? "was last" : "was not last");
      ::_exit(0);
    }
    actor.wait_for_go();
  });
  EXPECT_THAT(parent.next_of("granted"), ::testing::EndsWith(" joined"));
  ASSERT_THAT(leases(), SizeIs(2));

  parent.kill();

  EXPECT_THAT(owed(), IsEmpty());
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_NE(leases()[0].holder.pid, parent.pid());
  EXPECT_TRUE(leases()[0].holder.alive);
  to_child.signal();
  EXPECT_EQ(parent.next(), "was last");
  expect_sound();
}

}  // namespace
}  // namespace dbcache
