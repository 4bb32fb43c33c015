// What the commands on clusters decide.

#include <limits>

#include <gmock/gmock.h>

#include "commands/clusters.hpp"
#include "given.hpp"
#include "projections/memory_tables.hpp"

namespace dbcache::commands {
namespace {

using namespace std::chrono_literals;
using events::ClusterAccessed;
using events::ClusterCached;
using events::ClusterDeactivated;
using events::ClusterExpired;
using events::ClusterRemovalReason;
using events::ClusterRemoved;
using projections::MemoryTables;
using test::at;
using test::cluster_row;
using test::expiring;
using test::inactive;
using test::shared;
using test::told;
using test::given::now;
using testing::IsEmpty;

input::ClusterInput given_cluster(const std::string& cluster_id) {
  input::ClusterInput given;
  given.cluster_id = cluster_id;
  return given;
}

/// The row that caching decided on; its event comes last.
CachedCluster cached_row(const Events& events) {
  return std::get<ClusterCached>(events.back()).cluster;
}

// ---- Caching

TEST(CachingACluster, FillsEveryColumnFromTheInputAndThePresent) {
  const MemoryTables rows;
  input::ClusterInput given = given_cluster("c-1");
  given.cluster_name = "test_name";
  given.host = "https://workspace.cloud.databricks.com";
  given.num_workers = 2;
  given.status = "PENDING";
  given.created_at = at("09:00");
  given.is_shared = true;
  given.configuration = {{"node_type_id", "m5.large"}};

  const Events events = decide(CacheCluster{given, 2h}, test::present(rows, now)).events;

  CachedCluster row;
  row.cluster_id = "c-1";
  row.cluster_name = "test_name";
  row.host = "https://workspace.cloud.databricks.com";
  row.num_workers = 2;
  row.status = "PENDING";
  row.created_at = at("09:00");
  row.expiry_time = at("12:30");
  row.last_accessed = now;
  row.is_shared = true;
  EXPECT_EQ(told(events), told({ClusterCached{row, given.configuration}}));
}

TEST(CachingACluster, WasCreatedNowWhereNoCreationTimeIsGiven) {
  const MemoryTables rows;
  EXPECT_EQ(
      cached_row(decide(CacheCluster{given_cluster("c-1"), 1h}, test::present(rows, now)).events)
          .created_at,
      now);
}

TEST(CachingACluster, CountsExpiryFromThePresentAndNotFromItsCreation) {
  const MemoryTables rows;
  input::ClusterInput given = given_cluster("c-1");
  given.created_at = at("01:00");
  EXPECT_EQ(
      cached_row(decide(CacheCluster{given, 1h}, test::present(rows, now)).events).expiry_time,
      at("11:30"));
}

TEST(CachingACluster, ExpiresAtOnceWithADefaultExpiryOfZero) {
  const MemoryTables rows;
  EXPECT_EQ(
      cached_row(decide(CacheCluster{given_cluster("c-1"), 0h}, test::present(rows, now)).events)
          .expiry_time,
      now);
}

TEST(CachingACluster, DeactivatesEveryOtherActiveClusterFirst) {
  MemoryTables rows;
  rows.put(cluster_row(1, "old"));
  rows.put(cluster_row(2, "older"));

  const Events events =
      decide(CacheCluster{given_cluster("new"), 1h}, test::present(rows, now)).events;

  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(told({events[0], events[1]}),
            told({ClusterDeactivated{"older", "new"}, ClusterDeactivated{"old", "new"}}));
}

TEST(CachingACluster, DeactivatesAnExpiredActiveClusterToo) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "expired"), "10:00"));
  const Events events =
      decide(CacheCluster{given_cluster("new"), 1h}, test::present(rows, now)).events;
  EXPECT_EQ(told({events.front()}), told({ClusterDeactivated{"expired", "new"}}));
}

TEST(CachingACluster, LeavesInactiveClustersAlone) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(1, "old")));
  EXPECT_EQ(decide(CacheCluster{given_cluster("new"), 1h}, test::present(rows, now)).events.size(),
            1u);
}

TEST(CachingAClusterAgain, DoesNotDeactivateItself) {
  MemoryTables rows;
  rows.put(cluster_row(1, "c-1"));
  EXPECT_EQ(decide(CacheCluster{given_cluster("c-1"), 1h}, test::present(rows, now)).events.size(),
            1u);
}

TEST(CachingAClusterAgain, CountsItsAccessesFromOne) {
  MemoryTables rows;
  CachedCluster before = cluster_row(1, "c-1");
  before.access_count = 7;
  rows.put(before);
  EXPECT_EQ(
      cached_row(decide(CacheCluster{given_cluster("c-1"), 1h}, test::present(rows, now)).events)
          .access_count,
      1);
}

TEST(CachingAClusterAgain, MakesItActiveAgain) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(1, "c-1")));
  EXPECT_TRUE(
      cached_row(decide(CacheCluster{given_cluster("c-1"), 1h}, test::present(rows, now)).events)
          .is_active);
}

// ---- Saving a whole row

TEST(SavingACluster, KeepsTheColumnsAsGiven) {
  const MemoryTables rows;
  CachedCluster given = shared(cluster_row(0, "c-1"));
  given.cluster_name = "name";
  given.host = "host";
  given.num_workers = 0;
  given.status = "TERMINATED";
  given.access_count = 42;
  EXPECT_EQ(told(decide(SaveCluster{given, 1h}, test::present(rows, now)).events),
            told({ClusterCached{given, {}}}));
  const boost::json::object more{{"node_type_id", "m5.large"}};
  EXPECT_EQ(told(decide(SaveCluster{given, 1h, more}, test::present(rows, now)).events),
            told({ClusterCached{given, more}}));
}

TEST(SavingACluster, DoesNotTakeTheIdOfTheRowGiven) {
  const MemoryTables rows;
  EXPECT_EQ(
      cached_row(decide(SaveCluster{cluster_row(99, "c-1"), 1h}, test::present(rows, now)).events)
          .id,
      0);
}

TEST(SavingACluster, FillsTimesLeftAtZero) {
  const MemoryTables rows;
  CachedCluster given;
  given.cluster_id = "c-1";
  const CachedCluster row =
      cached_row(decide(SaveCluster{given, 2h}, test::present(rows, now)).events);
  EXPECT_EQ(row.created_at, now);
  EXPECT_EQ(row.last_accessed, now);
  EXPECT_EQ(row.expiry_time, at("12:30"));
}

TEST(SavingAnActiveCluster, DeactivatesTheOthers) {
  MemoryTables rows;
  rows.put(cluster_row(1, "old"));
  const Events events =
      decide(SaveCluster{cluster_row(0, "new"), 1h}, test::present(rows, now)).events;
  EXPECT_EQ(told({events.front()}), told({ClusterDeactivated{"old", "new"}}));
}

TEST(SavingAnInactiveCluster, LeavesTheActiveOneActive) {
  MemoryTables rows;
  rows.put(cluster_row(1, "old"));
  EXPECT_EQ(decide(SaveCluster{inactive(cluster_row(0, "new")), 1h}, test::present(rows, now))
                .events.size(),
            1u);
}

// ---- Access

TEST(AccessingACluster, CountsUpAndTakesTheMoment) {
  MemoryTables rows;
  CachedCluster before = cluster_row(1, "c-1");
  before.access_count = 4;
  rows.put(before);
  const auto decision = decide(AccessCluster{"c-1"}, test::present(rows, now));
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(told(decision.events), told({ClusterAccessed{"c-1", now, 5}}));
}

TEST(AccessingACluster, CountsAnActiveOneAlthoughItHasExpired) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "c-1"), "10:00"));
  EXPECT_TRUE(decide(AccessCluster{"c-1"}, test::present(rows, now)).result);
}

TEST(AccessingACluster, StaysAtTheLargestCountThereIs) {
  MemoryTables rows;
  CachedCluster worn = cluster_row(1, "c-1");
  worn.access_count = std::numeric_limits<std::int64_t>::max();
  rows.put(worn);
  EXPECT_EQ(told(decide(AccessCluster{"c-1"}, test::present(rows, now)).events),
            told({ClusterAccessed{"c-1", now, worn.access_count}}));
}

TEST(AccessingACluster, IsFalseWithoutAnEventForAnInactiveOne) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(1, "c-1")));
  const auto decision = decide(AccessCluster{"c-1"}, test::present(rows, now));
  EXPECT_FALSE(decision.result);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST(AccessingACluster, IsFalseWithoutAnEventForAnUnknownOne) {
  const MemoryTables rows;
  const auto decision = decide(AccessCluster{"c-1"}, test::present(rows, now));
  EXPECT_FALSE(decision.result);
  EXPECT_THAT(decision.events, IsEmpty());
}

// ---- Cleaning up, removing, clearing

TEST(CleaningUp, TakesWhatIsPastItsExpiryOldestFirst) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "first"), "10:10"));
  rows.put(cluster_row(2, "running"));
  rows.put(inactive(expiring(cluster_row(3, "second"), "10:05")));
  const auto decision = decide(CleanUpExpired{}, test::present(rows, now));
  EXPECT_EQ(decision.result.removed, 2u);
  EXPECT_EQ(told(decision.events),
            told({ClusterExpired{"first", at("10:10")}, ClusterExpired{"second", at("10:05")}}));
}

TEST(CleaningUp, TakesAClusterAtTheVeryMomentOfItsExpiry) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "c-1"), "10:30"));
  EXPECT_EQ(decide(CleanUpExpired{}, test::present(rows, now)).result.removed, 1u);
}

TEST(CleaningUp, LeavesAClusterAMicrosecondBeforeItsExpiry) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "c-1"), "10:30:00.000001"));
  EXPECT_EQ(decide(CleanUpExpired{}, test::present(rows, now)).result.removed, 0u);
}

TEST(CleaningUp, OfAnEmptyTableIsNothing) {
  const MemoryTables rows;
  EXPECT_THAT(decide(CleanUpExpired{}, test::present(rows, now)).events, IsEmpty());
}

TEST(RemovingATerminatedCluster, SaysThatItWasTerminated) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(1, "c-1")));
  const auto decision = decide(RemoveTerminated{"c-1"}, test::present(rows, now));
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(told(decision.events), told({ClusterRemoved{"c-1", ClusterRemovalReason::terminated}}));
}

TEST(RemovingATerminatedCluster, IsFalseWithoutAnEventForAnUnknownOne) {
  const MemoryTables rows;
  const auto decision = decide(RemoveTerminated{"c-1"}, test::present(rows, now));
  EXPECT_FALSE(decision.result);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST(ClearingTheClusters, TakesEveryRowOldestFirst) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(2, "a")));
  rows.put(expiring(cluster_row(1, "b"), "10:00"));
  const auto decision = decide(ClearClusters{}, test::present(rows, now));
  EXPECT_EQ(decision.result.removed, 2u);
  EXPECT_EQ(told(decision.events), told({ClusterRemoved{"b", ClusterRemovalReason::cleared},
                                         ClusterRemoved{"a", ClusterRemovalReason::cleared}}));
}

TEST(ClearingTheClusters, LeavesTheRegistryAlone) {
  MemoryTables rows;
  rows.put(test::entry_row(1, "hash"));
  EXPECT_THAT(decide(ClearClusters{}, test::present(rows, now)).events, IsEmpty());
}

// ---- Which cluster is the cached one

TEST(TheActiveCluster, IsTheNewestActiveRowThatHasNotExpired) {
  MemoryTables rows;
  rows.put(cluster_row(3, "a"));
  rows.put(cluster_row(7, "b"));
  rows.put(inactive(cluster_row(8, "inactive")));
  rows.put(expiring(cluster_row(9, "expired"), "10:29"));
  EXPECT_EQ(rows.active_cluster(now)->cluster_id, "b");
}

TEST(TheActiveCluster, IsNoneAtTheVeryMomentOfItsExpiry) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "c-1"), "10:30"));
  EXPECT_EQ(rows.active_cluster(now), std::nullopt);
}

TEST(TheLatestActiveCluster, PrefersAnOlderRowThatHasNotExpired) {
  MemoryTables rows;
  rows.put(cluster_row(1, "running"));
  rows.put(expiring(cluster_row(2, "expired"), "10:00"));
  EXPECT_EQ(latest_active_cluster(rows, now)->cluster_id, "running");
}

TEST(TheLatestActiveCluster, IsAnExpiredOneWhereThereIsNoOther) {
  MemoryTables rows;
  rows.put(expiring(cluster_row(1, "older"), "10:00"));
  rows.put(expiring(cluster_row(2, "newer"), "10:00"));
  EXPECT_EQ(latest_active_cluster(rows, now)->cluster_id, "newer");
}

TEST(TheLatestActiveCluster, IsNeverAnInactiveOne) {
  MemoryTables rows;
  rows.put(inactive(cluster_row(1, "c-1")));
  EXPECT_EQ(latest_active_cluster(rows, now), std::nullopt);
}

TEST(ACachedCluster, IsValidWhileItIsNamedActiveAndNotExpired) {
  EXPECT_TRUE(is_valid(cluster_row(1, "c-1"), now));
}

TEST(ACachedCluster, IsNotValidWithoutAName) { EXPECT_FALSE(is_valid(cluster_row(1, ""), now)); }

TEST(ACachedCluster, IsNotValidWhenInactive) {
  EXPECT_FALSE(is_valid(inactive(cluster_row(1, "c-1")), now));
}

TEST(ACachedCluster, IsNotValidFromTheMomentOfItsExpiryOn) {
  EXPECT_FALSE(is_valid(expiring(cluster_row(1, "c-1"), "10:30"), now));
}

}  // namespace
}  // namespace dbcache::commands
