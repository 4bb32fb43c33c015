// What the documented operations do among leases.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using events::LeaseLost;  // and not the error
using test::all_of;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::IsEmpty;

class AmongLeases : public Leases {
 protected:
  /// A command that removes, and what it told.
  template <class Command>
  Removal remove(const Command& command) {
    auto [decision, first] = commit(command);
    last_events = std::move(decision.events);
    return decision.result;
  }
  Events last_events;
};

// ---- Clearing and cleaning up

TEST_F(AmongLeases, ClearingLeavesWhatALeaseHoldsAndSaysSo) {
  created();
  append({ClusterCached{test::cluster_row(0, "free"), {}}});
  const Removal removal = remove(ClearClusters{});
  EXPECT_EQ(removal.removed, 1u);
  EXPECT_THAT(removal.held, ElementsAre("c-1"));
  EXPECT_TRUE(tables.cluster("c-1").has_value());
  EXPECT_EQ(tables.cluster("free"), std::nullopt);
}

TEST_F(AmongLeases, ClearingTakesWhatOnlyTheDeadHeld) {
  kill(created().holder);
  EXPECT_EQ(remove(ClearClusters{}).removed, 1u);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AmongLeases, ClearingTakesTheEntryAlongAndTheClusterIsOwed) {
  end(created());
  remove(ClearClusters{});
  EXPECT_EQ(
      told(last_events),
      told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace, OwedReason::cleared, now},
            ClusterRemoved{"c-1", ClusterRemovalReason::cleared},
            RegistryEntryRemoved{"hash", EntryRemovalReason::cleared}}));
}

TEST_F(AmongLeases, ClearingByForceLosesTheLeases) {
  const Grant held = created();
  const Removal removal = remove(ClearClusters{HeldClusters::remove});
  EXPECT_EQ(removal.removed, 1u);
  EXPECT_THAT(removal.held, IsEmpty());
  EXPECT_EQ(told({last_events.at(0)}),
            told({LeaseLost{"hash", held.lease, "c-1", HandBackPolicy::keep,
                            LeaseLossReason::forced, 0}}));
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AmongLeases, ClearingLeavesADocumentedEntryAndOwesNothing) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}},
          EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  EXPECT_EQ(remove(ClearClusters{}).removed, 1u);
  EXPECT_EQ(entry().cluster_id, "c-1");
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AmongLeases, ClearingLeavesWhatALeaseOnADocumentedEntryHolds) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}},
          EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  joined();
  EXPECT_THAT(remove(ClearClusters{}).held, ElementsAre("c-1"));
}

TEST_F(AmongLeases, ClearingTakesWhatWasCreatedAndMarkedOtherwiseAlong) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  remove(ClearClusters{});
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AmongLeases, CleaningUpLeavesAnExpiredClusterUnderALease) {
  created();
  now = at("20:00");
  const Removal removal = remove(CleanUpExpired{});
  EXPECT_EQ(removal.removed, 0u);
  EXPECT_THAT(removal.held, ElementsAre("c-1"));
}

TEST_F(AmongLeases, CleaningUpTakesTheEntryAlongAndTheClusterIsOwed) {
  end(created());
  now = at("20:00");
  const Removal removal = remove(CleanUpExpired{});
  EXPECT_EQ(removal.removed, 1u);
  EXPECT_EQ(
      told(last_events),
      told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace, OwedReason::expired, now},
            ClusterExpired{"c-1", at("11:30")},
            RegistryEntryRemoved{"hash", EntryRemovalReason::expired}}));
}

TEST_F(AmongLeases, CleaningUpByForceLosesTheLeases) {
  created();
  now = at("20:00");
  EXPECT_EQ(remove(CleanUpExpired{HeldClusters::remove}).removed, 1u);
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AmongLeases, CleaningUpAnEntryLeavesAHeldOneAndSaysSo) {
  created();
  EXPECT_THAT(remove(CleanUpEntry{"hash"}).held, ElementsAre("hash"));
  EXPECT_THAT(last_events, IsEmpty());
  acquire("creating");
  EXPECT_THAT(remove(ClearRegistry{}).held, ElementsAre("hash", "creating"));
}

TEST_F(AmongLeases, CleaningUpAnEntryOwesItsClusterAndTakesTheRowAlong) {
  end(created());
  EXPECT_EQ(remove(CleanUpEntry{"hash"}).removed, 1u);
  EXPECT_EQ(told(last_events),
            told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace,
                                  OwedReason::cleaned_up, now},
                  ClusterRemoved{"c-1", ClusterRemovalReason::handed_back},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::cleaned_up}}));
}

TEST_F(AmongLeases, CleaningUpAnEntryByForceLosesItsCreation) {
  const Step creation = acquire();
  EXPECT_EQ(remove(CleanUpEntry{"hash", HeldClusters::remove}).removed, 1u);
  EXPECT_EQ(all_of<LeaseLost>(last_events).at(0).lease, creation.number);
  EXPECT_THAT(owed(), ElementsAre("token-1"));
}

TEST_F(AmongLeases, CleaningUpADocumentedEntryOwesNothing) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}},
          EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  EXPECT_EQ(remove(CleanUpEntry{"hash"}).removed, 1u);
  EXPECT_TRUE(tables.cluster("c-1").has_value());
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AmongLeases, CleaningUpAFailedCreationLeavesItsDebtAsItIs) {
  commit(FailCreation{"hash", {acquire().number}, "no quota"});
  remove(CleanUpEntry{"hash"});
  ASSERT_THAT(owed(), ElementsAre("token-1"));
  EXPECT_EQ(tables.pending_termination("token-1")->reason, "creation_failed");
}

TEST_F(AmongLeases, CleaningUpAFailedCreationLeavesAClusterThatSomeoneCached) {
  const Step creation = acquire();
  commit(RecordStarted{"hash", {creation.number}, "c-1"});
  commit(FailCreation{"hash", {creation.number}, "no quota"});
  CacheCluster cache;
  cache.input.cluster_id = "c-1";
  cache.default_expiry = std::chrono::hours{1};
  commit(cache);
  remove(CleanUpEntry{"hash"});
  EXPECT_TRUE(tables.cluster("c-1").has_value());
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AmongLeases, CleaningUpWhatWasCreatedAndMarkedFailedOwesIt) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  remove(CleanUpEntry{"hash"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

// ---- Removing

TEST_F(AmongLeases, RemovingATerminatedClusterLosesItsLeasesAndOwesNothing) {
  const Grant held = created(HandBackPolicy::hand_back);
  const auto [decision, first] = commit(RemoveTerminated{"c-1"});
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(told(decision.events),
            told({LeaseLost{"hash", held.lease, "c-1", HandBackPolicy::hand_back,
                            LeaseLossReason::cluster_lost, 0},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::terminated},
                  ClusterRemoved{"c-1", ClusterRemovalReason::terminated}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AmongLeases, RemovingWhatAnEntryMarkedFailedNamesOwesNothingLater) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  commit(RemoveTerminated{"c-1"});
  now = at("20:00");
  tidy();
  acquire();
  EXPECT_THAT(owed(), IsEmpty());
}

// ---- Marking

TEST_F(AmongLeases, MarkingIsRefusedUnderALease) {
  created();
  for (const auto status :
       {RegistryStatus::creating, RegistryStatus::ready, RegistryStatus::failed}) {
    EXPECT_THROW(commit(ChangeStatus{"hash", status, {"c-2", std::nullopt}}), Busy);
  }
  EXPECT_EQ(entry().cluster_id, "c-1");
}

TEST_F(AmongLeases, MarkingIsRefusedUnderACreator) {
  acquire();
  EXPECT_THROW(commit(ChangeStatus{"hash", RegistryStatus::failed, {}}), Busy);
}

TEST_F(AmongLeases, MarkingIsAllowedWhenNobodyHoldsItAnyMore) {
  kill(created().holder);
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  EXPECT_EQ(entry().status, RegistryStatus::failed);
}

TEST_F(AmongLeases, MarkingAFailedEntryReadyWithTheStartedClusterCancelsItsDebt) {
  const Step creation = acquire();
  commit(RecordStarted{"hash", {creation.number}, "c-1"});
  commit(FailCreation{"hash", {creation.number}, "gave up"});
  commit(ChangeStatus{"hash", RegistryStatus::ready, {}});
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(acquire().cluster_id, "c-1");
}

TEST_F(AmongLeases, MarkingAReadyEntryWithAnotherClusterOwesTheOneThatWasCreated) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::ready, {"c-mine", std::nullopt}});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

TEST_F(AmongLeases, AClusterThatSomeoneMarkedReadyIsNeverOwed) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::ready, {"c-mine", std::nullopt}});
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  end(joined(by));
  remove(ClearRegistry{});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AmongLeases, AStartedClusterThatIsMarkedReadyAndFailedAgainIsOwedAfterAll) {
  const Step creation = acquire();
  commit(RecordStarted{"hash", {creation.number}, "c-1"});
  commit(FailCreation{"hash", {creation.number}, "gave up"});
  commit(ChangeStatus{"hash", RegistryStatus::ready, {}});
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  remove(CleanUpEntry{"hash"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

// ---- Caching and counting

TEST_F(AmongLeases, CachingDeactivatesALeasedClusterAndItsLeaseGoesOn) {
  created();
  CacheCluster cache;
  cache.input.cluster_id = "c-2";
  cache.default_expiry = std::chrono::hours{1};
  commit(cache);
  EXPECT_FALSE(tables.cluster("c-1")->is_active);
  EXPECT_EQ(acquire().cluster_id, "c-1");
}

TEST_F(AmongLeases, AnEntryOfTheEnvironmentStaysWhileItHasDocumentedUses) {
  Acquire by = acquirer("cluster-id-c-9");
  by.fixed_cluster = "c-9";
  const Grant held = joined(by);
  commit(IncrementUsage{"cluster-id-c-9"});
  end(held);
  EXPECT_EQ(entry("cluster-id-c-9").usage_count, 1);
  commit(DecrementUsage{"cluster-id-c-9"});
  EXPECT_EQ(tables.entry("cluster-id-c-9"), std::nullopt);
}

}  // namespace
}  // namespace dbcache::commands
