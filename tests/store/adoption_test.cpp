#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/manual_clock.hpp"
#include "support/python_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace json = boost::json;

namespace dbcache {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* token = "dapi0123456789abcdef-very-secret";

class Adoption : public ::testing::Test {
 protected:
  [[nodiscard]] Options options() const {
    Options options;
    options.database = path_;
    options.clock = clock_.clock();
    options.adoption_timezone = "+02:00";
    return options;
  }
  [[nodiscard]] static std::vector<std::string> types(const CacheManager& manager) {
    std::vector<std::string> types;
    for (const RecordedEvent& event : manager.history()) types.push_back(event.type);
    return types;
  }
  [[nodiscard]] static json::object payload(const CacheManager& manager, std::size_t at) {
    return json::parse(manager.history().at(at).payload).as_object();
  }
  [[nodiscard]] static auto drift(CacheManager& manager) {
    return manager.replay({.mode = ReplayMode::check}).differences;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  test::ManualClock clock_{"2026-01-15T10:30:00"};
};

class AdoptionOfJournalMode : public Adoption, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(JournalModes, AdoptionOfJournalMode,
                         ::testing::Values("wal", "delete", "truncate", "persist"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST_P(AdoptionOfJournalMode, EveryRowBecomesAnEventAndReplayFindsNoDrift) {
  test::make_python_database(path_, GetParam());
  CacheManager manager(options());

  manager.increment_shared_cluster_usage("hash-1");

  EXPECT_THAT(types(manager), ElementsAre("ClusterImported", "ClusterImported", "EntryImported",
                                          "EntryImported", "UsageIncremented"));
  EXPECT_TRUE(manager.verify().ok());
  EXPECT_THAT(drift(manager), IsEmpty());
}

TEST_P(AdoptionOfJournalMode, TheTokenOfAnErrorMessageIsNowhereInTheFiles) {
  const test::ScopedVariable variable("DATABRICKS_TOKEN", token);
  test::make_python_database(
      path_, GetParam(),
      "INSERT INTO shared_cluster_registry (config_hash, status, error_message) VALUES "
      "('h', 'failed', '401 for Bearer " +
          std::string(token) + "'), ('long', 'failed', '" + std::string(9000, 'x') + token + "')");
  ASSERT_THAT(test::files_holding(directory_.path(), token), SizeIs(1));
  CacheManager manager(options());

  EXPECT_EQ(manager.get_shared_cluster_info("h")->error_message, "401 for Bearer [redacted]");

  EXPECT_THAT(test::files_holding(directory_.path(), token), IsEmpty());
}

TEST_F(Adoption, SaysWhatItAdoptedAndInWhichZone) {
  test::make_python_database(path_);
  CacheManager manager(options());
  EXPECT_FALSE(manager.adoption().has_value());

  static_cast<void>(manager.get_all_clusters());

  const auto report = manager.adoption();
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->clusters, 2);
  EXPECT_EQ(report->registry_entries, 2);
  EXPECT_THAT(report->timezone, HasSubstr("02:00"));
  EXPECT_THAT(report->notes, IsEmpty());
}

TEST_F(Adoption, ReadsTimesWithATInTheZoneAndTimesWithASpaceAsUtc) {
  test::make_python_database(path_);
  const CacheManager manager(options());

  const auto rows = manager.get_all_clusters();

  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(format_timestamp(rows[1].created_at), "2025-06-09T11:37:23.420000");
  EXPECT_EQ(format_timestamp(rows[1].last_accessed), "2025-06-09T11:40:00.000000");
  EXPECT_EQ(format_timestamp(rows[0].expiry_time), "2025-06-10T09:00:00.000000");
}

TEST_F(Adoption, ReadsTimesInANamedZoneWithItsSummerTime) {
  test::make_python_database(path_);
  Options berlin = options();
  berlin.adoption_timezone = "Europe/Berlin";
  const CacheManager manager(berlin);

  EXPECT_EQ(format_timestamp(manager.get_all_clusters()[1].created_at),
            "2025-06-09T11:37:23.420000");
  EXPECT_EQ(manager.adoption()->timezone, "Europe/Berlin");
}

TEST_F(Adoption, KeepsEveryColumnOfTheRows) {
  test::make_python_database(path_);
  const CacheManager manager(options());

  const auto rows = manager.get_all_clusters();
  const auto entry = manager.get_shared_cluster_info("hash-1");

  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[1].cluster_id, "old-1");
  EXPECT_EQ(rows[1].cluster_name, "first");
  EXPECT_EQ(rows[1].host, "https://a.example");
  EXPECT_EQ(rows[1].num_workers, 2);
  EXPECT_EQ(rows[1].access_count, 7);
  EXPECT_FALSE(rows[1].is_active);
  EXPECT_EQ(rows[0].status, "PENDING");
  EXPECT_EQ(rows[0].cluster_name, std::nullopt);
  EXPECT_TRUE(rows[0].is_shared);
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->cluster_id, "old-2");
  EXPECT_EQ(entry->status, RegistryStatus::ready);
  EXPECT_EQ(entry->worker_pid, 4711);
  EXPECT_EQ(entry->usage_count, 3);
}

TEST_F(Adoption, TheEventHoldsTheRowAsItWas) {
  test::make_python_database(path_);
  const CacheManager manager(options());

  const json::value original = payload(manager, 0).at("original");

  EXPECT_EQ(original, json::parse(R"({"id":1,"cluster_id":"old-1","cluster_name":"first",
      "host":"https://a.example","num_workers":2,"status":"RUNNING",
      "created_at":"2025-06-09T13:37:23.420000","expiry_time":"2025-06-09T14:37:23.420000",
      "last_accessed":"2025-06-09 11:40:00","access_count":7,"is_active":0,"is_shared":0})"));
}

TEST_F(Adoption, TheEventHoldsColumnsThatTheDocumentDoesNotHave) {
  test::make_python_database(path_);
  test::run_sql(path_,
                "ALTER TABLE clusters ADD COLUMN region TEXT; "
                "UPDATE clusters SET region = 'eu' WHERE id = 1");
  const CacheManager manager(options());

  EXPECT_EQ(payload(manager, 0).at("original").at("region"), "eu");
}

TEST_F(Adoption, WhatAColumnCannotHoldIsNotedAndKeptInTheEvent) {
  test::make_python_database(
      path_, "wal",
      "INSERT INTO clusters (cluster_id, num_workers, expiry_time) VALUES "
      "('odd', 'many', 'tomorrow'); "
      "INSERT INTO shared_cluster_registry (config_hash, status) VALUES ('h', 'paused')");
  const CacheManager manager(options());

  const auto rows = manager.get_all_clusters();

  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].num_workers, std::nullopt);
  EXPECT_EQ(rows[0].expiry_time, clock_.now());
  EXPECT_EQ(manager.get_shared_cluster_info("h")->status, RegistryStatus::failed);
  EXPECT_THAT(manager.adoption()->notes, SizeIs(3));
  EXPECT_EQ(payload(manager, 0).at("original").at("num_workers"), "many");
  EXPECT_EQ(payload(manager, 0).at("original").at("expiry_time"), "tomorrow");
  EXPECT_EQ(payload(manager, 1).at("original").at("status"), "paused");
}

TEST_F(Adoption, ARowThatNoStreamCanNameRefusesTheDatabaseAndChangesNoRow) {
  test::make_python_database(path_, "wal",
                             "INSERT INTO clusters (cluster_id, expiry_time) VALUES "
                             "('good', '2025-06-09 14:00:00'), ('', '2025-06-09 14:00:00')");
  CacheManager manager(options());

  EXPECT_THROW(static_cast<void>(manager.get_all_clusters()), CorruptDatabase);
  EXPECT_THROW(static_cast<void>(manager.clear_cluster_cache()), CorruptDatabase);

  EXPECT_THAT(test::query_column(path_, "SELECT cluster_id FROM clusters ORDER BY id"),
              ElementsAre("good", ""));
  EXPECT_THAT(test::query_column(path_, "SELECT name FROM sqlite_master WHERE name = 'events'"),
              IsEmpty());
}

TEST_F(Adoption, TheHistoryOfAnImportedClusterGoesOn) {
  test::make_python_database(path_);
  CacheManager manager(options());
  manager.update_cluster_access("old-2");
  manager.remove_terminated_cluster("old-2");

  std::vector<std::string> found;
  for (const RecordedEvent& event : manager.history({.subject = "old-2"})) {
    found.push_back(event.stream + " " + event.type);
  }

  EXPECT_THAT(found, ElementsAre("cluster-old-2 ClusterImported", "registry-hash-1 EntryImported",
                                 "cluster-old-2 ClusterAccessed", "cluster-old-2 ClusterRemoved"));
}

TEST_F(Adoption, ReplayRebuildsTheImportedRows) {
  test::make_python_database(path_);
  CacheManager manager(options());
  const auto rows = manager.get_all_clusters();
  const auto entries = manager.get_all_shared_clusters();
  test::run_sql(path_, "DELETE FROM clusters; DELETE FROM shared_cluster_registry");

  EXPECT_TRUE(manager.replay().rebuilt);

  EXPECT_EQ(manager.get_all_clusters(), rows);
  EXPECT_EQ(manager.get_all_shared_clusters(), entries);
}

TEST_F(Adoption, TwoEmptyTablesAreAdoptedWithoutAReport) {
  test::make_python_database(path_, "delete", "");
  CacheManager manager(options());

  manager.cache_new_cluster("c");

  EXPECT_FALSE(manager.adoption().has_value());
  EXPECT_THAT(types(manager), ElementsAre("ClusterCached"));
}

TEST_F(Adoption, ADatabaseOfTheFirstVersionsHasNoRegistryAndIsAdopted) {
  test::make_python_database(path_);
  test::run_sql(path_, "DROP TABLE shared_cluster_registry");
  CacheManager manager(options());

  EXPECT_THAT(manager.get_all_clusters(), SizeIs(2));
  EXPECT_TRUE(manager.register_shared_cluster_creation("h", 4711));

  EXPECT_THAT(types(manager),
              ElementsAre("ClusterImported", "ClusterImported", "CreationRegistered"));
  EXPECT_EQ(manager.adoption()->registry_entries, 0);
  EXPECT_THAT(drift(manager), IsEmpty());
}

TEST_F(Adoption, ADatabaseFromBeforeSharingHasNoColumnForItAndIsAdopted) {
  test::make_python_database(path_);
  test::run_sql(path_,
                "DROP TABLE shared_cluster_registry; ALTER TABLE clusters DROP COLUMN is_shared");
  CacheManager manager(options());

  const auto rows = manager.get_all_clusters();

  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_FALSE(rows[0].is_shared);
  EXPECT_THAT(drift(manager), IsEmpty());
}

TEST_F(Adoption, ADatabaseWithoutIndexesOrRowsIsAdopted) {
  test::make_python_database(path_, "delete", "");
  test::run_sql(path_,
                "DROP TABLE shared_cluster_registry; DROP INDEX idx_cluster_id; "
                "DROP INDEX idx_expiry_time; DROP INDEX idx_is_active");
  CacheManager manager(options());

  manager.cache_new_cluster("c");

  EXPECT_THAT(types(manager), ElementsAre("ClusterCached"));
}

TEST_F(Adoption, AnotherProgramsTableOfClustersIsRefusedAndKept) {
  test::run_sql(path_, "CREATE TABLE clusters (id INTEGER PRIMARY KEY, cluster_id TEXT)");
  CacheManager manager(options());

  EXPECT_THROW(static_cast<void>(manager.get_all_clusters()), CorruptDatabase);
  EXPECT_THROW(manager.cache_new_cluster("c"), CorruptDatabase);

  EXPECT_THAT(test::query_column(path_, "SELECT name FROM sqlite_master"), ElementsAre("clusters"));
}

TEST_F(Adoption, WithoutAZoneThatCanBeFoundChangesNothing) {
  test::make_python_database(path_);
  const test::ScopedVariable zone("TZ", "Mars/Olympus_Mons");
  Options of_this_machine = options();
  of_this_machine.adoption_timezone.clear();
  const CacheManager manager(of_this_machine);

  EXPECT_THROW(static_cast<void>(manager.get_all_clusters()), InvalidArgument);

  EXPECT_THAT(test::query_column(path_, "SELECT name FROM sqlite_master WHERE name = 'events'"),
              IsEmpty());
  EXPECT_THAT(CacheManager(options()).get_all_clusters(), SizeIs(2));
}

TEST_F(Adoption, OnlyTheManagerThatAdoptedSaysSo) {
  test::make_python_database(path_);
  static_cast<void>(CacheManager(options()).get_all_clusters());
  const CacheManager second(options());

  EXPECT_THAT(second.get_all_clusters(), SizeIs(2));

  EXPECT_FALSE(second.adoption().has_value());
}

/// Every call that only reads, of which each is to adopt as well.
struct Reading {
  std::string name;
  std::function<void(CacheManager&)> call;

  friend std::ostream& operator<<(std::ostream& out, const Reading& reading) {
    return out << reading.name;
  }
};

class AdoptionByReading : public Adoption, public ::testing::WithParamInterface<Reading> {};

INSTANTIATE_TEST_SUITE_P(
    Calls, AdoptionByReading,
    ::testing::Values(
        Reading{"Load", [](CacheManager& m) { static_cast<void>(m.load_cluster_cache()); }},
        Reading{"Info", [](CacheManager& m) { static_cast<void>(m.get_cached_cluster_info()); }},
        Reading{"Statistics", [](CacheManager& m) { static_cast<void>(m.get_cache_statistics()); }},
        Reading{"DatabaseInfo", [](CacheManager& m) { static_cast<void>(m.get_database_info()); }},
        Reading{"CanJoin",
                [](CacheManager& m) {
                  static_cast<void>(m.can_join_shared_cluster_creation("hash-1"));
                }},
        Reading{"History", [](CacheManager& m) { static_cast<void>(m.history()); }},
        Reading{"Check", [](CacheManager& m) { m.replay({.mode = ReplayMode::check}); }},
        Reading{"Verify", [](CacheManager& m) { static_cast<void>(m.verify()); }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(AdoptionByReading, AdoptsEveryRow) {
  test::make_python_database(path_);
  CacheManager manager(options());

  GetParam().call(manager);

  ASSERT_TRUE(manager.adoption().has_value());
  EXPECT_EQ(manager.get_database_info().events, 4);
}

TEST_F(Adoption, OptimizingAdoptsAsWell) {
  test::make_python_database(path_);
  CacheManager manager(options());

  manager.optimize_database();

  EXPECT_TRUE(manager.adoption().has_value());
}

TEST_F(Adoption, SecretsThatWereDeletedBeforeAreGoneFromTheFreePagesToo) {
  const test::ScopedVariable variable("DATABRICKS_TOKEN", token);
  {
    SQLite::Database python = test::open_raw(path_);
    python.exec("PRAGMA secure_delete = OFF");
    python.exec(test::documented_schema);
    python.exec(
        "INSERT INTO shared_cluster_registry (config_hash, error_message) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "SELECT 'h-' || i, '" +
        std::string(9000, 'x') + token + "' || i FROM n");
    python.exec("DELETE FROM shared_cluster_registry WHERE config_hash <> 'h-1'");
    python.exec("UPDATE shared_cluster_registry SET error_message = NULL");
  }
  ASSERT_THAT(test::files_holding(directory_.path(), token), SizeIs(1));
  const CacheManager manager(options());

  EXPECT_THAT(manager.get_all_shared_clusters(), SizeIs(1));

  EXPECT_THAT(test::files_holding(directory_.path(), token), IsEmpty());
}

TEST_F(Adoption, EightProcessesAtOnceImportOnce) {
  for (int round = 0; round < 5; ++round) {
    const std::string path = (directory_.path() / (std::to_string(round) + ".db")).string();
    test::make_python_database(path, round % 2 == 0 ? "wal" : "delete");
    test::Pipe start;
    std::vector<test::ChildProcess> children;
    for (int child = 0; child < 8; ++child) {
      children.emplace_back([&, child] {
        start.close_write();
        start.wait();
        CacheManager manager({.database = path});
        if (child % 2 == 0) {
          static_cast<void>(manager.get_all_clusters());
        } else {
          manager.increment_shared_cluster_usage("hash-1");
        }
        return manager.adoption() ? 1 : 0;
      });
    }

    start.close_write();

    int adopted = 0;
    for (auto& child : children) {
      const int status = child.wait();
      ASSERT_THAT(status, ::testing::AnyOf(0, 1));
      adopted += status;
    }
    CacheManager manager({.database = path});
    ASSERT_EQ(adopted, 1);
    ASSERT_EQ(manager.history({.types = {"ClusterImported", "EntryImported"}}).size(), 4U);
    ASSERT_EQ(manager.get_shared_cluster_info("hash-1")->usage_count, 7);
    ASSERT_TRUE(manager.verify().ok());
    ASSERT_THAT(drift(manager), IsEmpty());
  }
}

}  // namespace
}  // namespace dbcache
