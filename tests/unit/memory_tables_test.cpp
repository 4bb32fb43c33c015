// The tables in memory answer as the interface promises.

#include "projections/memory_tables.hpp"

#include <limits>

#include <gmock/gmock.h>

#include "given.hpp"

namespace dbcache::projections {

using namespace rows;

namespace {

using test::at;
using test::cluster_row;
using test::entry_row;
using test::expiring;
using test::inactive;
using test::shared;
using test::given::now;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> ids(const std::vector<CachedCluster>& rows) {
  std::vector<std::string> all;
  for (const CachedCluster& row : rows) all.push_back(row.cluster_id);
  return all;
}

class MemoryTablesWithFourClusters : public testing::Test {
 protected:
  MemoryTablesWithFourClusters() {
    tables.put(cluster_row(4, "active"));
    tables.put(inactive(cluster_row(3, "inactive")));
    tables.put(shared(cluster_row(2, "shared")));
    tables.put(expiring(cluster_row(1, "expired"), "10:30"));
  }
  MemoryTables tables;
};

TEST_F(MemoryTablesWithFourClusters, GiveRowsNewestFirst) {
  EXPECT_THAT(ids(tables.clusters({}, now, {})),
              ElementsAre("active", "inactive", "shared", "expired"));
}

TEST_F(MemoryTablesWithFourClusters, GiveAtMostTheLimit) {
  EXPECT_THAT(ids(tables.clusters({}, now, 2)), ElementsAre("active", "inactive"));
}

TEST_F(MemoryTablesWithFourClusters, FilterByWhetherTheyAreActive) {
  ClusterFilter filter;
  filter.is_active = false;
  EXPECT_THAT(ids(tables.clusters(filter, now, {})), ElementsAre("inactive"));
}

TEST_F(MemoryTablesWithFourClusters, FilterByWhetherTheyAreShared) {
  ClusterFilter filter;
  filter.is_shared = true;
  EXPECT_THAT(ids(tables.clusters(filter, now, {})), ElementsAre("shared"));
}

TEST_F(MemoryTablesWithFourClusters, FilterByExpiryWhichHoldsFromItsMomentOn) {
  ClusterFilter filter;
  filter.is_expired = true;
  EXPECT_THAT(ids(tables.clusters(filter, now, {})), ElementsAre("expired"));
}

TEST_F(MemoryTablesWithFourClusters, GiveRowsThatFitEveryFieldThatIsSet) {
  ClusterFilter filter;
  filter.is_active = true;
  filter.is_shared = false;
  filter.is_expired = false;
  EXPECT_THAT(ids(tables.clusters(filter, now, {})), ElementsAre("active"));
}

TEST_F(MemoryTablesWithFourClusters, CountTheDocumentedFigures) {
  CacheStatistics expected;
  expected.total_clusters = 4;
  expected.active_clusters = 3;
  expected.expired_clusters = 1;
  expected.total_accesses = 4;
  expected.shared_clusters = 1;
  EXPECT_EQ(tables.statistics(now), expected);
}

TEST_F(MemoryTablesWithFourClusters, CountAccessesUpToTheLargestNumberThereIs) {
  CachedCluster worn = cluster_row(5, "worn");
  worn.access_count = std::numeric_limits<std::int64_t>::max();
  tables.put(worn);
  EXPECT_EQ(tables.statistics(now).total_accesses, worn.access_count);
}

TEST_F(MemoryTablesWithFourClusters, GiveRawRowsInOrderOfTheirKeys) {
  std::vector<std::string> keys;
  for (const RawRow& row : tables.raw_rows(rows::clusters_table)) keys.push_back(row.key);
  EXPECT_THAT(keys, ElementsAre("active", "expired", "inactive", "shared"));
}

TEST_F(MemoryTablesWithFourClusters, ReplaceTheRowOfTheSameCluster) {
  tables.put(cluster_row(9, "shared"));
  EXPECT_EQ(tables.cluster_count(), 4u);
  EXPECT_EQ(tables.cluster("shared"), cluster_row(9, "shared"));
}

TEST_F(MemoryTablesWithFourClusters, LetARowBeTakenOutTwice) {
  tables.erase_cluster("shared");
  tables.erase_cluster("shared");
  EXPECT_EQ(tables.cluster_count(), 3u);
}

TEST_F(MemoryTablesWithFourClusters, CopyEveryRowOverWhatIsThere) {
  tables.put(entry_row(5, "hash"));
  MemoryTables target;
  target.put(inactive(cluster_row(9, "active")));
  tables.copy_to(target);
  EXPECT_EQ(target.clusters({}, now, {}), tables.clusters({}, now, {}));
  EXPECT_EQ(target.entries(), tables.entries());
}

TEST(MemoryTables, GiveNothingForAnUnknownKey) {
  const MemoryTables tables;
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
}

TEST(MemoryTables, GiveEntriesNewestFirst) {
  MemoryTables tables;
  tables.put(entry_row(1, "b"));
  tables.put(entry_row(3, "a"));
  tables.put(entry_row(2, "c"));
  EXPECT_THAT(tables.entries(),
              ElementsAre(entry_row(3, "a"), entry_row(2, "c"), entry_row(1, "b")));
}

TEST(MemoryTables, ForgetOneEntry) {
  MemoryTables tables;
  tables.put(entry_row(1, "a"));
  tables.put(entry_row(2, "b"));
  tables.erase_entry("a");
  tables.erase_entry("unknown");
  EXPECT_THAT(tables.entries(), ElementsAre(entry_row(2, "b")));
}

TEST(MemoryTables, AreEmptyWhenCleared) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  tables.put(entry_row(2, "hash"));
  tables.clear();
  EXPECT_THAT(tables.raw_rows(rows::clusters_table), IsEmpty());
  EXPECT_THAT(tables.raw_rows(rows::registry_table), IsEmpty());
}

}  // namespace
}  // namespace dbcache::projections
