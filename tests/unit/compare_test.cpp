// How drift between two sets of tables is told, and what an event changed.

#include "projections/compare.hpp"

#include <gmock/gmock.h>

#include "given.hpp"

namespace dbcache::projections {

using namespace rows;

namespace {

namespace json = boost::json;
using namespace events;
using test::at;
using test::cluster_row;
using test::entry_row;
using test::inactive;
using testing::ElementsAre;
using testing::IsEmpty;
using Kind = RowDifference::Kind;

/// A table whose rows hold whatever is put there by hand.
class DoctoredTables final : public MemoryTables {
 public:
  std::vector<RawRow> clusters_as_stored;

  std::vector<RawRow> raw_rows(std::string_view table) const override {
    return table == clusters_table ? clusters_as_stored : std::vector<RawRow>{};
  }
};

struct Told {
  std::string table;
  std::string key;
  Kind kind;
  std::string column;

  bool operator==(const Told&) const = default;
  friend void PrintTo(const Told& told, std::ostream* out) {
    *out << told.table << '/' << told.key << '/' << static_cast<int>(told.kind) << '/'
         << told.column;
  }
};

std::vector<Told> where(const std::vector<RowDifference>& differences) {
  std::vector<Told> places;
  for (const RowDifference& difference : differences) {
    places.push_back({difference.table, difference.key, difference.kind, difference.column});
  }
  return places;
}

TEST(Comparing, FindsNothingInEqualTables) {
  MemoryTables expected;
  MemoryTables found;
  for (MemoryTables* tables : {&expected, &found}) {
    tables->put(cluster_row(1, "c-1"));
    tables->put(entry_row(2, "hash"));
  }
  EXPECT_THAT(compare(expected, found), IsEmpty());
}

TEST(Comparing, TellsAMissingRowWhole) {
  MemoryTables expected;
  const MemoryTables found;
  expected.put(cluster_row(1, "c-1"));
  const auto differences = compare(expected, found);
  ASSERT_THAT(where(differences), ElementsAre(Told{"clusters", "c-1", Kind::missing, ""}));
  EXPECT_EQ(differences[0].expected.at("cluster_id"), "c-1");
  EXPECT_TRUE(differences[0].found.is_null());
}

TEST(Comparing, TellsAnUnexpectedRowWhole) {
  const MemoryTables expected;
  MemoryTables found;
  found.put(entry_row(1, "hash"));
  const auto differences = compare(expected, found);
  ASSERT_THAT(where(differences),
              ElementsAre(Told{"shared_cluster_registry", "hash", Kind::unexpected, ""}));
  EXPECT_TRUE(differences[0].expected.is_null());
  EXPECT_EQ(differences[0].found.at("config_hash"), "hash");
}

TEST(Comparing, TellsEachChangedColumnWithBothValues) {
  MemoryTables expected;
  MemoryTables found;
  expected.put(cluster_row(1, "c-1"));
  CachedCluster doctored = inactive(cluster_row(1, "c-1"));
  doctored.host = "elsewhere";
  found.put(doctored);
  const auto differences = compare(expected, found);
  ASSERT_THAT(where(differences), ElementsAre(Told{"clusters", "c-1", Kind::changed, "host"},
                                              Told{"clusters", "c-1", Kind::changed, "is_active"}));
  EXPECT_TRUE(differences[0].expected.is_null());
  EXPECT_EQ(differences[0].found, "elsewhere");
  EXPECT_EQ(differences[1].expected, 1);
  EXPECT_EQ(differences[1].found, 0);
}

TEST(Comparing, SeesThatARowHasAnotherId) {
  MemoryTables expected;
  MemoryTables found;
  expected.put(cluster_row(1, "c-1"));
  found.put(cluster_row(2, "c-1"));
  EXPECT_THAT(where(compare(expected, found)),
              ElementsAre(Told{"clusters", "c-1", Kind::changed, "id"}));
}

TEST(Comparing, GoesThroughBothTablesInOrderOfTheirKeys) {
  MemoryTables expected;
  MemoryTables found;
  expected.put(cluster_row(1, "a"));
  found.put(cluster_row(1, "b"));
  expected.put(cluster_row(2, "c"));
  found.put(cluster_row(2, "c"));
  expected.put(cluster_row(3, "d"));
  found.put(cluster_row(3, "e"));
  EXPECT_THAT(where(compare(expected, found)),
              ElementsAre(Told{"clusters", "a", Kind::missing, ""},
                          Told{"clusters", "b", Kind::unexpected, ""},
                          Told{"clusters", "d", Kind::missing, ""},
                          Told{"clusters", "e", Kind::unexpected, ""}));
}

TEST(Comparing, TellsAColumnThatHoldsWhatItNeverShould) {
  MemoryTables expected;
  expected.put(cluster_row(1, "c-1"));
  DoctoredTables found;
  found.clusters_as_stored.push_back({"c-1", stored_columns(cluster_row(1, "c-1"))});
  found.clusters_as_stored[0].columns["access_count"] = "many";
  const auto differences = compare(expected, found);
  ASSERT_THAT(where(differences),
              ElementsAre(Told{"clusters", "c-1", Kind::changed, "access_count"}));
  EXPECT_EQ(differences[0].found, "many");
}

TEST(Comparing, TellsEachOfTwoRowsWithOneKey) {
  MemoryTables expected;
  expected.put(cluster_row(1, "c-1"));
  DoctoredTables found;
  for (int copy = 0; copy < 2; ++copy) {
    found.clusters_as_stored.push_back({"c-1", stored_columns(cluster_row(1, "c-1"))});
  }
  EXPECT_THAT(where(compare(expected, found)),
              ElementsAre(Told{"clusters", "c-1", Kind::unexpected, ""}));
}

TEST(Comparing, HasTimesInTheStoredFormAndFlagsAsNumbers) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  const json::object columns = tables.raw_rows(rows::clusters_table).at(0).columns;
  EXPECT_EQ(columns.at("expiry_time"), "2026-01-15T11:00:00.000000");
  EXPECT_EQ(columns.at("is_active"), 1);
  EXPECT_EQ(columns.at("is_shared"), 0);
}

// ---- What an event changed

TEST(ProjectAndCompare, TellsAMadeRowWithEveryColumnThatHoldsSomething) {
  MemoryTables tables;
  const Effect effect = project_and_compare(ClusterCached{cluster_row(0, "c-1"), {}}, 3, tables);
  EXPECT_EQ(effect.effect, RowEffect::made);
  std::vector<std::string> columns;
  for (const ColumnChange& change : effect.changes) {
    EXPECT_TRUE(change.before.is_null()) << change.column;
    columns.push_back(change.column);
  }
  EXPECT_THAT(columns, ElementsAre("id", "cluster_id", "status", "created_at", "expiry_time",
                                   "last_accessed", "access_count", "is_active", "is_shared"));
  EXPECT_EQ(effect.changes[0].after, 3);
}

TEST(ProjectAndCompare, TellsAChangedRowWithTheChangedColumnsAlone) {
  MemoryTables tables;
  tables.put(entry_row(1, "hash"));
  const Effect effect = project_and_compare(UsageIncremented{"hash", 2}, 2, tables);
  EXPECT_EQ(effect.effect, RowEffect::changed);
  ASSERT_EQ(effect.changes.size(), 1u);
  EXPECT_EQ(effect.changes[0].column, "usage_count");
  EXPECT_EQ(effect.changes[0].before, 1);
  EXPECT_EQ(effect.changes[0].after, 2);
}

TEST(ProjectAndCompare, TellsARemovedRowWithWhatItHeld) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  const Effect effect =
      project_and_compare(ClusterRemoved{"c-1", ClusterRemovalReason::terminated}, 2, tables);
  EXPECT_EQ(effect.effect, RowEffect::removed);
  ASSERT_FALSE(effect.changes.empty());
  for (const ColumnChange& change : effect.changes) {
    EXPECT_TRUE(change.after.is_null()) << change.column;
  }
  EXPECT_EQ(tables.cluster_count(), 0u);
}

TEST(ProjectAndCompare, CallsARowCachedAnewChanged) {
  MemoryTables tables;
  tables.put(cluster_row(1, "c-1"));
  const Effect effect = project_and_compare(ClusterCached{cluster_row(0, "c-1"), {}}, 9, tables);
  EXPECT_EQ(effect.effect, RowEffect::changed);
  ASSERT_EQ(effect.changes.size(), 1u);
  EXPECT_EQ(effect.changes[0].column, "id");
}

TEST(ProjectAndCompare, TellsAnEventThatLeftItsRowAsItWas) {
  MemoryTables tables;
  tables.put(inactive(cluster_row(1, "c-1")));
  const Effect effect = project_and_compare(ClusterDeactivated{"c-1", "c-2"}, 2, tables);
  EXPECT_EQ(effect.effect, RowEffect::none);
  EXPECT_THAT(effect.changes, IsEmpty());
}

TEST(ProjectAndCompare, TellsAnEventAboutARowThatIsNotThere) {
  MemoryTables tables;
  const Effect effect = project_and_compare(ClusterExpired{"gone", at("10:00")}, 2, tables);
  EXPECT_EQ(effect.effect, RowEffect::none);
  EXPECT_THAT(effect.changes, IsEmpty());
}

}  // namespace
}  // namespace dbcache::projections
