#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/errors.hpp"
#include "support/manual_clock.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace json = boost::json;

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

/// A database whose tables somebody writes behind the library's back.
class Drift : public ::testing::Test {
 protected:
  Drift() {
    manager_.cache_new_cluster("c", {{"num_workers", 2}, {"cluster_name", "name"}});
    manager_.register_shared_cluster_creation("h", 4711);
  }

  void change(const std::string& sql) const { test::run_sql(path_, sql); }
  auto check() { return manager_.replay({.mode = ReplayMode::check}).differences; }
  std::vector<std::string> words() {
    std::vector<std::string> words;
    for (const RowDifference& difference : check()) words.push_back(describe(difference));
    return words;
  }
  static std::string describe(const RowDifference& difference) {
    const std::string where = difference.table + " " + difference.key;
    switch (difference.kind) {
      case RowDifference::Kind::missing:
        return where + " missing";
      case RowDifference::Kind::unexpected:
        return where + " unexpected";
      case RowDifference::Kind::changed:
        return where + " " + difference.column + ": " + json::serialize(difference.expected) +
               " -> " + json::serialize(difference.found);
    }
    return "";
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  test::ManualClock clock_{"2026-01-15T10:30:00"};
  CacheManager manager_{{.database = path_, .clock = clock_.clock()}};
};

TEST_F(Drift, TablesThatNobodyTouchedHaveNone) { EXPECT_THAT(check(), IsEmpty()); }

/// A change by hand, and what replay --check is to say of it.
struct Change {
  std::string name;
  std::string sql;
  std::string difference;

  friend std::ostream& operator<<(std::ostream& out, const Change& change) {
    return out << change.name;
  }
};

class EachDrift : public Drift, public ::testing::WithParamInterface<Change> {};

INSTANTIATE_TEST_SUITE_P(
    Changes, EachDrift,
    ::testing::Values(
        Change{"Number", "UPDATE clusters SET access_count = 9", "clusters c access_count: 1 -> 9"},
        Change{"Text", "UPDATE clusters SET cluster_name = 'other'",
               "clusters c cluster_name: \"name\" -> \"other\""},
        Change{"TextToNull", "UPDATE clusters SET cluster_name = NULL",
               "clusters c cluster_name: \"name\" -> null"},
        Change{"NullToText", "UPDATE clusters SET host = ''", "clusters c host: null -> \"\""},
        Change{"NumberToNull", "UPDATE clusters SET num_workers = NULL",
               "clusters c num_workers: 2 -> null"},
        Change{"NumberToText", "UPDATE clusters SET num_workers = 'two'",
               "clusters c num_workers: 2 -> \"two\""},
        Change{"NumberToReal", "UPDATE clusters SET num_workers = 2.5",
               "clusters c num_workers: 2 -> 2.5E0"},
        Change{"NumberToInfinity", "UPDATE clusters SET num_workers = 9e999",
               "clusters c num_workers: 2 -> {\"real\":\"inf\"}"},
        Change{"TextToBlob", "UPDATE clusters SET cluster_name = x'6e616d65'",
               "clusters c cluster_name: \"name\" -> {\"blob\":\"6e616d65\"}"},
        Change{"TextToInvalidUtf8", "UPDATE clusters SET cluster_name = CAST(x'ff' AS TEXT)",
               "clusters c cluster_name: \"name\" -> {\"text\":\"ff\"}"},
        Change{"Flag", "UPDATE clusters SET is_active = 0", "clusters c is_active: 1 -> 0"},
        Change{"FlagThatIsTrueInAnotherWay", "UPDATE clusters SET is_active = 2",
               "clusters c is_active: 1 -> 2"},
        Change{"FlagToText", "UPDATE clusters SET is_shared = 'no'",
               "clusters c is_shared: 0 -> \"no\""},
        Change{"TimeInAnotherForm", "UPDATE clusters SET created_at = '2026-01-15 10:30:00'",
               "clusters c created_at: \"2026-01-15T10:30:00.000000\" -> "
               "\"2026-01-15 10:30:00\""},
        Change{"TimeToNumber", "UPDATE clusters SET expiry_time = 5",
               "clusters c expiry_time: \"2026-01-15T11:30:00.000000\" -> 5"},
        Change{"RowId", "UPDATE clusters SET id = 77", "clusters c id: 1 -> 77"},
        Change{"MissingRow", "DELETE FROM clusters", "clusters c missing"},
        Change{"UnexpectedRow",
               "INSERT INTO clusters (cluster_id, expiry_time) VALUES ('z', '2026')",
               "clusters z unexpected"},
        Change{"UnexpectedRowWithABlobForItsId",
               "INSERT INTO clusters (cluster_id, expiry_time) VALUES (x'63', '2026')",
               "clusters {\"blob\":\"63\"} unexpected"},
        Change{"EntryStatus", "UPDATE shared_cluster_registry SET status = 'ready'",
               "shared_cluster_registry h status: \"creating\" -> \"ready\""},
        Change{"EntryUnknownStatus", "UPDATE shared_cluster_registry SET status = 'paused'",
               "shared_cluster_registry h status: \"creating\" -> \"paused\""},
        Change{"EntryStatusToNull", "UPDATE shared_cluster_registry SET status = NULL",
               "shared_cluster_registry h status: \"creating\" -> null"},
        Change{"EntryCount", "UPDATE shared_cluster_registry SET usage_count = -1",
               "shared_cluster_registry h usage_count: 1 -> -1"},
        Change{"EntryPid", "UPDATE shared_cluster_registry SET worker_pid = NULL",
               "shared_cluster_registry h worker_pid: 4711 -> null"},
        Change{"EntryError", "UPDATE shared_cluster_registry SET error_message = 'x'",
               "shared_cluster_registry h error_message: null -> \"x\""},
        Change{"MissingEntry", "DELETE FROM shared_cluster_registry",
               "shared_cluster_registry h missing"},
        Change{"UnexpectedEntry", "INSERT INTO shared_cluster_registry (config_hash) VALUES ('i')",
               "shared_cluster_registry i unexpected"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(EachDrift, IsFoundMendedAndGone) {
  change(GetParam().sql);
  EXPECT_THAT(words(), ElementsAre(GetParam().difference));

  const ReplayReport report = manager_.replay();

  EXPECT_TRUE(report.rebuilt);
  EXPECT_EQ(report.differences.size(), 1U);
  EXPECT_THAT(check(), IsEmpty());
}

TEST_P(EachDrift, CheckingChangesNothing) {
  change(GetParam().sql);
  const auto before = words();

  EXPECT_EQ(words(), before);
}

TEST_F(Drift, AMissingRowIsTheWholeRowThatTheLogMakes) {
  change("DELETE FROM shared_cluster_registry");

  const auto differences = check();

  ASSERT_EQ(differences.size(), 1U);
  EXPECT_EQ(differences[0].expected.at("worker_pid"), 4711);
  EXPECT_TRUE(differences[0].found.is_null());
}

TEST_F(Drift, ReplayReportsWhatItReadAndMade) {
  manager_.cache_new_cluster("d");
  manager_.remove_terminated_cluster("d");

  const ReplayReport report = manager_.replay();

  EXPECT_EQ(report.events, 5);
  EXPECT_EQ(report.clusters, 1);
  EXPECT_EQ(report.registry_entries, 1);
  EXPECT_TRUE(report.rebuilt);
}

TEST_F(Drift, ReplayLeavesTheLogAsItIs) {
  const LogHead head = manager_.verify().head;

  manager_.replay();

  EXPECT_EQ(manager_.verify().head, head);
}

TEST_F(Drift, ReplayOfAMissingDatabaseCreatesNothing) {
  const test::TemporaryDirectory empty;
  CacheManager manager({.database = empty.database()});

  const ReplayReport report = manager.replay();

  EXPECT_FALSE(report.rebuilt);
  EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
}

TEST_F(Drift, AnExceptionOfTheProgressCallbackChangesNothing) {
  struct Mine {};
  change("UPDATE clusters SET access_count = 9");

  EXPECT_THROW(manager_.replay({.on_progress = [](const LogProgress&) { throw Mine{}; }}), Mine);

  EXPECT_THAT(words(), ElementsAre("clusters c access_count: 1 -> 9"));
}

TEST_F(Drift, TheProgressCallbackMayUseTheManager) {
  std::int64_t told = 0;

  manager_.replay({.on_progress = [&](const LogProgress& progress) {
    manager_.increment_shared_cluster_usage("h");
    told = progress.events_total;
  }});

  EXPECT_GE(told, 2);
  EXPECT_THAT(check(), IsEmpty());
}

/// A column that holds what dbcache never writes there, and a call that meets it.
struct WrongColumn {
  std::string name;
  std::string sql;
  std::function<void(CacheManager&)> call;

  friend std::ostream& operator<<(std::ostream& out, const WrongColumn& wrong) {
    return out << wrong.name;
  }
};

class WrongType : public Drift, public ::testing::WithParamInterface<WrongColumn> {
 protected:
  static inline const std::string unchanged = "SELECT count(*) FROM events";
};

INSTANTIATE_TEST_SUITE_P(
    Calls, WrongType,
    ::testing::Values(
        WrongColumn{"ListOfATextCount", "UPDATE clusters SET access_count = 'many'",
                    [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }},
        WrongColumn{"ListOfANullFlag", "UPDATE clusters SET is_active = NULL",
                    [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }},
        WrongColumn{"ListOfABadTime", "UPDATE clusters SET created_at = 'yesterday'",
                    [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }},
        WrongColumn{"ListOfANullStatus", "UPDATE clusters SET status = NULL",
                    [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }},
        WrongColumn{"StatisticsOfATextCount", "UPDATE clusters SET access_count = 'many'",
                    [](CacheManager& m) { static_cast<void>(m.get_cache_statistics()); }},
        WrongColumn{"StatisticsOfANullFlag", "UPDATE clusters SET is_shared = NULL",
                    [](CacheManager& m) { static_cast<void>(m.get_cache_statistics()); }},
        WrongColumn{"LoadOfABadExpiry", "UPDATE clusters SET expiry_time = 'never'",
                    [](CacheManager& m) { static_cast<void>(m.load_cluster_cache()); }},
        WrongColumn{"AccessOfATextCount", "UPDATE clusters SET access_count = 'many'",
                    [](CacheManager& m) { m.update_cluster_access("c"); }},
        WrongColumn{"CachingBesideABadRow", "UPDATE clusters SET num_workers = 'two'",
                    [](CacheManager& m) { m.cache_new_cluster("d"); }},
        WrongColumn{"RemovalOfABadRow", "UPDATE clusters SET num_workers = 2.5",
                    [](CacheManager& m) { m.remove_terminated_cluster("c"); }},
        WrongColumn{"ClearOfABadRow", "UPDATE clusters SET host = x'00'",
                    [](CacheManager& m) { m.clear_cluster_cache(); }},
        WrongColumn{"EntryOfAnUnknownStatus",
                    "UPDATE shared_cluster_registry SET status = 'paused'",
                    [](CacheManager& m) { static_cast<void>(m.get_shared_cluster_info("h")); }},
        WrongColumn{
            "JoinOfANullStatus", "UPDATE shared_cluster_registry SET status = NULL",
            [](CacheManager& m) { static_cast<void>(m.can_join_shared_cluster_creation("h")); }},
        WrongColumn{"RegistrationOfABadEntry",
                    "UPDATE shared_cluster_registry SET worker_pid = 'me'",
                    [](CacheManager& m) { m.register_shared_cluster_creation("h", 1); }},
        WrongColumn{"IncrementOfATextCount",
                    "UPDATE shared_cluster_registry SET usage_count = 'three'",
                    [](CacheManager& m) { m.increment_shared_cluster_usage("h"); }},
        WrongColumn{"DecrementOfARealCount", "UPDATE shared_cluster_registry SET usage_count = 1.5",
                    [](CacheManager& m) { m.decrement_shared_cluster_usage("h"); }},
        WrongColumn{
            "StatusOfABadEntry", "UPDATE shared_cluster_registry SET creation_time = 0",
            [](CacheManager& m) { m.update_shared_cluster_status("h", RegistryStatus::failed); }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(WrongType, IsNamedAsDamageWithItsRemedyAndNoEventFollows) {
  change(GetParam().sql);
  const std::string events = test::query_text(path_, unchanged);

  const std::string error = test::error_of([&] {
    GetParam().call(manager_);
    return 0;
  });

  EXPECT_THAT(error, AllOf(StartsWith("CorruptDatabase: "), HasSubstr("dbcache replay")));
  EXPECT_EQ(test::query_text(path_, unchanged), events);
}

TEST_P(WrongType, ReplayMakesTheCallWorkAgain) {
  change(GetParam().sql);

  manager_.replay();

  EXPECT_NO_THROW(GetParam().call(manager_));
}

}  // namespace
}  // namespace dbcache
