// A user's SQL condition decides which clusters are returned, and can do nothing else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ClustersWhere : public ::testing::Test {
 protected:
  ClustersWhere() {
    manager_.cache_new_cluster("c-1", {{"cluster_name", "one"}, {"num_workers", 1}});
    manager_.cache_new_cluster("c-2", {{"cluster_name", "two"}, {"num_workers", 2}});
    manager_.cache_new_cluster("c-3", {{"num_workers", 3}, {"is_shared", true}});
  }
  [[nodiscard]] std::vector<std::string> ids(const std::string& condition) const {
    std::vector<std::string> ids;
    for (const CachedCluster& row : manager_.get_clusters_where(condition)) {
      ids.push_back(row.cluster_id);
    }
    return ids;
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  test::ManualClock clock_{"2026-01-15T10:30:00"};
  CacheManager manager_{database_.options({.clock = clock_.clock()})};
};

TEST_F(ClustersWhere, AreThoseForWhichItHoldsNewestFirst) {
  EXPECT_THAT(ids("num_workers >= 2"), ElementsAre("c-3", "c-2"));
  EXPECT_THAT(ids("is_active = 1"), ElementsAre("c-3"));
  EXPECT_THAT(ids("cluster_name LIKE 'T%'"), ElementsAre("c-2"));
  EXPECT_THAT(ids("cluster_name IS NULL AND is_shared"), ElementsAre("c-3"));
  EXPECT_THAT(ids("status = \"RUNNING\" -- all\n"), ElementsAre("c-3", "c-2", "c-1"));
  EXPECT_THAT(ids("num_workers = 9"), IsEmpty());
}

TEST_F(ClustersWhere, AreTheRowsThemselves) {
  EXPECT_EQ(manager_.get_clusters_where("1"), manager_.get_all_clusters());
}

TEST_F(ClustersWhere, MayLookAtOtherRows) {
  EXPECT_THAT(ids("num_workers = (SELECT max(num_workers) FROM clusters)"), ElementsAre("c-3"));
}

TEST_F(ClustersWhere, CompareTimesAsMomentsInEitherForm) {
  EXPECT_THAT(ids("expiry_time > '2026-01-15 11:29:59'").size(), 3u);
  EXPECT_THAT(ids("expiry_time > '2026-01-15 11:30:01'"), IsEmpty());
  EXPECT_THAT(ids("datetime('2026-01-15 11:30:01') < expiry_time"), IsEmpty());
  EXPECT_THAT(
      ids("expiry_time BETWEEN '2026-01-15T11:00' AND datetime('2026-01-15', '+12 hours')").size(),
      3u);
  EXPECT_THAT(ids("datetime(expiry_time) = '2026-01-15 11:30:00'").size(), 3u);
  EXPECT_THAT(ids("expiry_time < datetime('now')").size(), 3u);
}

TEST_F(ClustersWhere, NeedNoDatabase) {
  CacheManager manager({.database = (database_.directory() / "none.db").string()});
  EXPECT_THAT(manager.get_clusters_where("1"), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(database_.directory() / "none.db"));
}

struct Abuse {
  const char* name;
  std::string condition;
  const char* says;
};

class ClustersWhereAbused : public ClustersWhere, public ::testing::WithParamInterface<Abuse> {};

TEST_P(ClustersWhereAbused, AreRefused) {
  const std::vector<CachedCluster> before = manager_.get_all_clusters();
  const auto events = manager_.history().size();
  try {
    static_cast<void>(manager_.get_clusters_where(GetParam().condition));
    ADD_FAILURE() << "nothing was refused";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), HasSubstr(GetParam().says));
  }
  EXPECT_EQ(manager_.get_all_clusters(), before);
  EXPECT_EQ(manager_.history().size(), events);
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

INSTANTIATE_TEST_SUITE_P(
    Conditions, ClustersWhereAbused,
    ::testing::Values(
        Abuse{"Empty", "", "incomplete input"}, Abuse{"NoSql", "which are mine?", "syntax error"},
        Abuse{"AnUnknownColumn", "owner = 'me'", "owner"},
        Abuse{"AStackedStatement", "1; DELETE FROM clusters", "goes on"},
        Abuse{"AStackedStatementAfterABracket", "1); DROP TABLE clusters; --", "syntax error"},
        Abuse{"AnEarlyBracket", "0) OR (1", "syntax error"},
        Abuse{"AnOrder", "1 ORDER BY id LIMIT 1", "syntax error"},
        Abuse{"AUnion", "0 UNION SELECT 1", "syntax error"},
        Abuse{"AUnionAfterABracket", "0) UNION SELECT id FROM clusters WHERE (1", "syntax error"},
        Abuse{"AnOpenComment", "1 /*", ""},
        Abuse{"TheSchema", "EXISTS (SELECT * FROM sqlite_master)", "prohibited"},
        Abuse{"AnotherTable", "EXISTS (SELECT * FROM events)", "no such table"},
        Abuse{"TheRegistry", "cluster_id IN (SELECT cluster_id FROM shared_cluster_registry)",
              "no such table"},
        Abuse{"ATableOfFunctions", "EXISTS (SELECT * FROM pragma_database_list)", "not authorized"},
        Abuse{"ATableOfJson", "EXISTS (SELECT * FROM json_each('[1]'))", "json_each"},
        Abuse{"Attach", "ATTACH '/etc/passwd' AS other", "syntax error"},
        Abuse{"Pragma", "PRAGMA user_version = 9", "syntax error"},
        Abuse{"AWrite", "(DELETE FROM clusters)", "syntax error"},
        Abuse{"AnUpdateReturning", "(UPDATE clusters SET is_active = 0 RETURNING 1)",
              "syntax error"},
        Abuse{"LoadExtension", "load_extension('evil.so')", "not authorized"},
        Abuse{"LoadExtensionInCapitals", "LOAD_EXTENSION('evil.so')", "not authorized"},
        Abuse{"ReadFile", "readfile('/etc/passwd') IS NOT NULL", "no such function"},
        Abuse{"ARandomNumber", "random() > 0", "not authorized"},
        Abuse{"AMatch", "cluster_name MATCH 'x'", ""},
        Abuse{"MuchMemory", "length(zeroblob(1000000000)) > 0", "not authorized"},
        Abuse{"MuchMemoryByText", "length(printf('%1000000000d', 1)) > 0", "not authorized"},
        Abuse{"MuchMemoryBySquaring",
              "length(replace('" + repeated("a", 3000) + "', 'a', '" + repeated("a", 3000) +
                  "')) > 0",
              "too big"},
        Abuse{"EndlessRecursion",
              "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
              "SELECT count(*) FROM n)",
              ""},
        Abuse{"ManyRows",
              "(SELECT count(*) FROM clusters a, clusters b, clusters c, clusters d, clusters e, "
              "clusters f, "
              "clusters g, clusters h, clusters i, clusters j, clusters k, clusters l, "
              "clusters m, clusters n, clusters o, clusters p, clusters q) > 0",
              "too long"},
        Abuse{"Depth", repeated("(", 2000) + "1" + repeated(")", 2000), ""},
        Abuse{"Length", "1" + repeated(" AND 1", 20'000), "120001 bytes"},
        Abuse{"AParameter", "num_workers = ?", "parameters"},
        Abuse{"ANamedParameter", "num_workers = :n", "parameters"},
        Abuse{"ANul", std::string("1\0 OR 1", 7), "NUL"},
        Abuse{"NotUtf8", "cluster_name = '\xFF'", "UTF-8"}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace dbcache
