// What each event makes of the tables.

#include <gmock/gmock.h>

#include "given.hpp"
#include "projections/memory_tables.hpp"
#include "projections/project.hpp"

namespace dbcache::projections {

using namespace rows;

namespace {

using namespace events;
using test::at;
using test::cluster_row;
using test::entry_row;
using test::failed;
using test::inactive;
using test::ready;
using testing::ElementsAre;
using testing::IsEmpty;

template <class Row>
Row with_id(Row row, std::int64_t id) {
  row.id = id;
  return row;
}

TEST(ClusterCachedEvent, MakesARowWhoseIdIsItsPosition) {
  MemoryTables tables;
  project(ClusterCached{cluster_row(0, "c-1"), {{"node_type_id", "m5.large"}}}, 7, tables);
  EXPECT_EQ(tables.cluster("c-1"), cluster_row(7, "c-1"));
}

TEST(ClusterCachedEvent, ReplacesTheRowOfTheSameCluster) {
  MemoryTables tables;
  CachedCluster before = inactive(cluster_row(1, "c-1"));
  before.host = "https://before";
  before.access_count = 9;
  tables.put(before);
  project(ClusterCached{cluster_row(0, "c-1"), {}}, 8, tables);
  EXPECT_THAT(tables.clusters({}, {}, {}), ElementsAre(cluster_row(8, "c-1")));
}

TEST(ClusterCachedEvent, LeavesOtherRowsAlone) {
  MemoryTables tables;
  tables.put(cluster_row(1, "other"));
  project(ClusterCached{cluster_row(0, "c-1"), {}}, 2, tables);
  EXPECT_EQ(tables.cluster("other"), cluster_row(1, "other"));
}

TEST(ClusterImportedEvent, MakesTheRowAsNormalisedAndNotAsItWas) {
  MemoryTables tables;
  project(ClusterImported{cluster_row(55, "c-1"), {{"id", 55}, {"cluster_id", "c-1"}}, {"note"}}, 3,
          tables);
  EXPECT_EQ(tables.cluster("c-1"), cluster_row(3, "c-1"));
}

TEST(ClusterDeactivatedEvent, ChangesIsActiveAlone) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  project(ClusterDeactivated{"c-1", "c-2"}, 2, tables);
  EXPECT_EQ(tables.cluster("c-1"), inactive(cluster_row(1, "c-1")));
}

TEST(ClusterDeactivatedEvent, DoesNotTouchTheClusterThatBecameActive) {
  MemoryTables tables;
  tables.put(inactive(cluster_row(1, "c-2")));
  project(ClusterDeactivated{"c-1", "c-2"}, 2, tables);
  EXPECT_EQ(tables.cluster("c-2"), inactive(cluster_row(1, "c-2")));
}

TEST(ClusterAccessedEvent, SetsMomentAndCountAsItSays) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  project(ClusterAccessed{"c-1", at("10:45"), 12}, 2, tables);
  CachedCluster expected = cluster_row(1, "c-1");
  expected.last_accessed = at("10:45");
  expected.access_count = 12;
  EXPECT_EQ(tables.cluster("c-1"), expected);
}

TEST(ClusterExpiredEvent, TakesTheRow) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  tables.put(cluster_row(2, "c-2"));
  project(ClusterExpired{"c-1", at("11:00")}, 3, tables);
  EXPECT_THAT(tables.clusters({}, {}, {}), ElementsAre(cluster_row(2, "c-2")));
}

class ClusterRemovedEvent : public testing::TestWithParam<ClusterRemovalReason> {};

TEST_P(ClusterRemovedEvent, TakesTheRow) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  project(ClusterRemoved{"c-1", GetParam()}, 2, tables);
  EXPECT_THAT(tables.clusters({}, {}, {}), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, ClusterRemovedEvent,
    testing::Values(ClusterRemovalReason::cleared, ClusterRemovalReason::terminated,
                    ClusterRemovalReason::lost, ClusterRemovalReason::handed_back),
    [](const auto& each) {
      return std::string(boost::describe::enum_to_string(each.param, "unknown"));
    });

TEST(ClusterRemovedEvent, LeavesARegistryEntryThatNamesTheCluster) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  tables.put(ready(entry_row(2, "hash"), "c-1"));
  project(ClusterRemoved{"c-1", ClusterRemovalReason::cleared}, 3, tables);
  EXPECT_EQ(tables.entry("hash"), ready(entry_row(2, "hash"), "c-1"));
}

TEST(CreationRegisteredEvent, MakesACreatingEntryThatIsUsedOnce) {
  MemoryTables tables;
  project(CreationRegistered{"hash", at("10:00"), {4711, 99, "boot", "pid:[1]"}}, 5, tables);
  EXPECT_EQ(tables.entry("hash"), entry_row(5, "hash"));
}

TEST(EntryImportedEvent, MakesTheEntryAsNormalisedAndNotAsItWas) {
  MemoryTables tables;
  project(EntryImported{ready(entry_row(55, "hash"), "c-1"), {{"id", 55}}, {}}, 4, tables);
  EXPECT_EQ(tables.entry("hash"), ready(entry_row(4, "hash"), "c-1"));
}

TEST(RegistryStatusChangedEvent, SetsStatusClusterAndError) {
  MemoryTables tables;
  tables.put(entry_row(1, "hash"));
  project(RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::failed, "c-1",
                                "quota"},
          2, tables);
  RegistryEntry expected = failed(entry_row(1, "hash"), "quota");
  expected.cluster_id = "c-1";
  EXPECT_EQ(tables.entry("hash"), expected);
}

TEST(RegistryStatusChangedEvent, ClearsClusterAndErrorWhereItHoldsNone) {
  MemoryTables tables;
  tables.put(failed(ready(entry_row(1, "hash"), "c-1"), "quota"));
  project(RegistryStatusChanged{"hash", RegistryStatus::failed, RegistryStatus::creating,
                                std::nullopt, std::nullopt},
          2, tables);
  EXPECT_EQ(tables.entry("hash"), entry_row(1, "hash"));
}

TEST(RegistryStatusChangedEvent, GoesByWhereItLeadsAndNotByWhereItSaysItCameFrom) {
  MemoryTables tables;
  tables.put(failed(entry_row(1, "hash"), "quota"));
  project(RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::ready, "c-1",
                                std::nullopt},
          2, tables);
  EXPECT_EQ(tables.entry("hash"), ready(entry_row(1, "hash"), "c-1"));
}

TEST(UsageIncrementedEvent, SetsTheCountThatItHolds) {
  MemoryTables tables;
  tables.put(entry_row(1, "hash"));
  project(UsageIncremented{"hash", 9}, 2, tables);
  RegistryEntry expected = entry_row(1, "hash");
  expected.usage_count = 9;
  EXPECT_EQ(tables.entry("hash"), expected);
}

TEST(UsageDecrementedEvent, SetsTheCountThatItHolds) {
  MemoryTables tables;
  tables.put(entry_row(1, "hash"));
  project(UsageDecremented{"hash", 0}, 2, tables);
  RegistryEntry expected = entry_row(1, "hash");
  expected.usage_count = 0;
  EXPECT_EQ(tables.entry("hash"), expected);
}

TEST(RegistryEntryRemovedEvent, TakesTheEntryAndLeavesTheCluster) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  tables.put(ready(entry_row(2, "hash"), "c-1"));
  project(RegistryEntryRemoved{"hash", EntryRemovalReason::cleaned_up}, 3, tables);
  EXPECT_THAT(tables.entries(), IsEmpty());
  EXPECT_EQ(tables.cluster_count(), 1u);
}

struct Stray {
  const char* name;
  Event event;
};

class AnEventAboutARowThatIsNotThere : public testing::TestWithParam<Stray> {};

TEST_P(AnEventAboutARowThatIsNotThere, ChangesNothing) {
  MemoryTables tables;
  tables.put(cluster_row(1, "other"));
  tables.put(entry_row(2, "other"));
  project(GetParam().event, 3, tables);
  EXPECT_THAT(tables.clusters({}, {}, {}), ElementsAre(cluster_row(1, "other")));
  EXPECT_THAT(tables.entries(), ElementsAre(entry_row(2, "other")));
}

INSTANTIATE_TEST_SUITE_P(
    Events, AnEventAboutARowThatIsNotThere,
    testing::Values(Stray{"ClusterDeactivated", ClusterDeactivated{"gone", "other"}},
                    Stray{"ClusterAccessed", ClusterAccessed{"gone", at("10:30"), 2}},
                    Stray{"ClusterExpired", ClusterExpired{"gone", at("10:00")}},
                    Stray{"ClusterRemoved", ClusterRemoved{"gone", ClusterRemovalReason::lost}},
                    Stray{"RegistryStatusChanged",
                          RegistryStatusChanged{"gone", RegistryStatus::creating,
                                                RegistryStatus::ready, "c-1", std::nullopt}},
                    Stray{"UsageIncremented", UsageIncremented{"gone", 2}},
                    Stray{"UsageDecremented", UsageDecremented{"gone", 0}},
                    Stray{"RegistryEntryRemoved",
                          RegistryEntryRemoved{"gone", EntryRemovalReason::cleaned_up}}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Projecting, ReadsTheSameOutOfTheSameEventsEachTime) {
  const std::vector<Event> log{ClusterCached{cluster_row(0, "c-1"), {}},
                               ClusterAccessed{"c-1", at("10:10"), 2},
                               ClusterDeactivated{"c-1", "c-2"},
                               ClusterCached{cluster_row(0, "c-2"), {}},
                               ClusterRemoved{"c-1", {}},
                               ClusterCached{cluster_row(0, "c-1"), {}}};
  MemoryTables once;
  MemoryTables again;
  for (MemoryTables* tables : {&once, &again}) {
    std::int64_t position = 0;
    for (const Event& event : log) project(event, ++position, *tables);
  }
  EXPECT_EQ(once.clusters({}, {}, {}), again.clusters({}, {}, {}));
  EXPECT_THAT(once.clusters({}, {}, {}),
              ElementsAre(with_id(cluster_row(0, "c-1"), 6), with_id(cluster_row(0, "c-2"), 4)));
}

}  // namespace
}  // namespace dbcache::projections
