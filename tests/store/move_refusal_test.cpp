// A move is refused while somebody holds something, and for databases that do not fit.

#include <unistd.h>

#include <gmock/gmock.h>

#include "store/move_test.hpp"
#include "support/child_process.hpp"

namespace dbcache::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST_P(MoveTest, IsRefusedWhileALeaseLives) {
  fill(from_);
  SharedClusters shared(from_);
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
  ClusterLease lease = shared.acquire({{"num_workers", 3}}, lifecycle);
  const auto before = contents_of(from_);

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "),
                    HasSubstr("lease " + std::to_string(lease.fencing_token()) + " on c (pid ")));

  EXPECT_EQ(contents_of(from_), before);
  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_TRUE(to_place_->is_untouched());
  lease.release();
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedUntilADeadlineHasPassed) {
  SharedClusters shared(from_);
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
  shared.acquire({{"num_workers", 3}}, lifecycle).hold_for(std::chrono::minutes{5});

  EXPECT_THAT(error_of_moving(from_, to_), StartsWith("Busy: "));

  clock_.advance(std::chrono::minutes{6});
  move(from_, to_);
  EXPECT_EQ(CacheManager(to_).history({.types = {"LeaseLost"}}).size(), 1U);
}

TEST_P(MoveTest, IsRefusedWhileSomeoneTakesPartInARun) {
  SharedClusters shared(from_);
  RunMembership member = shared.join_run("nightly");

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "), HasSubstr("a participant of the run nightly")));

  member.leave();
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedWhileAClusterIsCreatedCheckedOrTerminated) {
  SharedClusters shared(from_);
  std::vector<std::string> errors;
  const auto attempt = [&] { errors.push_back(error_of_moving(from_, to_)); };
  ClusterLifecycle lifecycle;
  lifecycle.create = [&](const ClusterConfig&, Creation&) {
    attempt();
    return std::string("c");
  };
  lifecycle.check = [&](const std::string&) {
    attempt();
    return true;
  };
  AcquireOptions hand_back;
  hand_back.policy = HandBackPolicy::hand_back;

  shared.acquire({}, lifecycle).release();
  shared.acquire({}, lifecycle, hand_back).release();
  shared.settle([&](const Termination&) { attempt(); });

  ASSERT_THAT(errors, SizeIs(3));
  EXPECT_THAT(errors[0], AllOf(StartsWith("Busy: "), HasSubstr("creation ")));
  EXPECT_THAT(errors[1], AllOf(StartsWith("Busy: "), HasSubstr("check ")));
  EXPECT_THAT(errors[2], AllOf(StartsWith("Busy: "), HasSubstr("the termination of c ")));
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedWhileARegisteredWorkerCreates) {
  CacheManager manager(from_);
  manager.register_shared_cluster_creation("h", ::getpid());

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "), HasSubstr("the creation of 'h' (pid ")));

  manager.update_shared_cluster_status("h", RegistryStatus::ready, {.cluster_id = "c"});
  move(from_, to_);
}

TEST_P(MoveTest, TheDeadHoldNothingUp) {
  test::ChildProcess([&] {
    SharedClusters shared(from_);
    ClusterLifecycle lifecycle;
    lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
    const ClusterLease lease = shared.acquire({}, lifecycle);
    const RunMembership member = shared.join_run("nightly");
    ::_exit(0);
    return 0;
  }).wait();
  // Where a lock that is gone may be of a session that was lost, they have a while to show up.
  if (!error_of_moving(from_, to_).empty()) {
    from_place_->end_grace();
    move(from_, to_);
  }

  const CacheManager manager(to_);
  EXPECT_THAT(manager.history({.types = {"LeaseLost", "RunLeft"}}), SizeIs(2));
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

TEST_P(MoveTest, NamesAFewOfManyHolders) {
  SharedClusters shared(from_);
  std::vector<RunMembership> members;
  for (int i = 0; i < 5; ++i) members.push_back(shared.join_run("nightly"));

  EXPECT_THAT(error_of_moving(from_, to_), HasSubstr(" and 2 more; "));
}

TEST_P(MoveTest, ADatabaseThatIsNotEmptyIsNoTarget) {
  fill(from_);
  CacheManager(to_).cache_new_cluster("mine");
  const auto before = contents_of(to_);

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("is not empty")));

  EXPECT_EQ(contents_of(to_), before);
  EXPECT_EQ(closed(to_), std::nullopt);
  EXPECT_EQ(closed(from_), std::nullopt);
}

TEST_P(MoveTest, ADatabaseIsNotMovedToItself) {
  fill(from_);

  EXPECT_THAT(error_of_moving(from_, from_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("are the same database")));

  EXPECT_EQ(closed(from_), std::nullopt);
}

TEST_P(MoveTest, AMissingDatabaseIsNotMoved) {
  EXPECT_THAT(error_of_moving(from_, to_), StartsWith("NotFound: there is no database "));

  EXPECT_TRUE(from_place_->is_untouched());
  EXPECT_TRUE(to_place_->is_untouched());
}

TEST_P(MoveTest, WhatWasMovedIsNotMovedElsewhere) {
  fill(from_);
  const MoveReport moved = move(from_, to_);
  const auto third = std::get<1>(GetParam()).new_place();

  EXPECT_THAT(error_of_moving(from_, at(*third)),
              AllOf(StartsWith("DatabaseMoved: "), HasSubstr(moved.to)));

  EXPECT_TRUE(third->is_untouched());
}

TEST_P(MoveTest, ADatabaseThatWasMovedIsNoTargetForOthers) {
  fill(from_);
  move(from_, to_);
  const auto third = std::get<1>(GetParam()).new_place();
  fill(at(*third));

  EXPECT_THAT(error_of_moving(at(*third), from_), StartsWith("DatabaseMoved: "));

  EXPECT_EQ(closed(at(*third)), std::nullopt);
}

TEST_P(MoveTest, TablesThatDifferFromTheLogAreNotMoved) {
  fill(from_);
  write(Store(from_).engine(), [](WriteSession& session) {
    session.tables.change_cluster("cluster-2", [](CachedCluster& row) { row.access_count = 99; });
  });

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("`dbcache replay`")));
  EXPECT_EQ(closed(from_), std::nullopt);

  CacheManager(from_).replay();
  move(from_, to_);
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

}  // namespace
}  // namespace dbcache::store
