#include "store/migration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/python_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Migration : public ::testing::Test {
 protected:
  [[nodiscard]] std::string error_of_reading() const {
    return test::error_of([&] { return CacheManager({.database = path_}).get_all_clusters(); });
  }
  [[nodiscard]] std::string error_of_writing() const {
    return test::error_of([&] { return CacheManager({.database = path_}).clear_cluster_cache(); });
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(Migration, RefusesANewerSchemaAndLeavesItAsItIs) {
  CacheManager({.database = path_}).cache_new_cluster("c");
  test::run_sql(path_, "PRAGMA user_version = 99");
  const std::string before = test::read_bytes(path_);

  const auto newer = AllOf(StartsWith("NewerSchema: "), HasSubstr(path_), HasSubstr("99"));
  EXPECT_THAT(error_of_reading(), newer);
  EXPECT_THAT(error_of_writing(), newer);

  EXPECT_TRUE(test::read_bytes(path_) == before);
}

TEST_F(Migration, RefusesASchemaThatBecameNewerWhileTheManagerWasOpen) {
  CacheManager manager({.database = path_});
  manager.cache_new_cluster("c");
  static_cast<void>(manager.get_all_clusters());
  test::run_sql(path_, "PRAGMA user_version = 99");

  EXPECT_THROW(static_cast<void>(manager.get_all_clusters()), NewerSchema);
  EXPECT_THROW(manager.cache_new_cluster("d"), NewerSchema);
}

/// A database that dbcache did not make and must not touch.
struct Foreign {
  std::string name;
  std::string sql;

  friend std::ostream& operator<<(std::ostream& out, const Foreign& foreign) {
    return out << foreign.name;
  }
};

class ForeignDatabase : public Migration, public ::testing::WithParamInterface<Foreign> {};

INSTANTIATE_TEST_SUITE_P(
    Databases, ForeignDatabase,
    ::testing::Values(
        Foreign{"WithOtherTables", "CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')"},
        Foreign{"WithOtherTablesInWalMode",
                "PRAGMA journal_mode = wal; CREATE TABLE notes (text); "
                "INSERT INTO notes VALUES ('mine')"},
        Foreign{"WithOneOfTheTablesOnly",
                test::documented_schema + std::string("DROP TABLE clusters")},
        Foreign{"WithTablesOfTheSameNamesAndOtherColumns",
                "CREATE TABLE clusters (size); CREATE TABLE shared_cluster_registry (owner); "
                "INSERT INTO clusters VALUES (3)"},
        Foreign{"WithAnotherApplicationId",
                test::documented_schema + std::string("PRAGMA application_id = 7")},
        Foreign{"WithAnotherProgramsSchemaNumber",
                test::documented_schema + std::string("PRAGMA user_version = 1")},
        Foreign{"WithAnEventsTableOfItsOwn",
                test::documented_schema + std::string("CREATE TABLE events (happened)")}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(ForeignDatabase, IsRefusedAndUnchangedByteForByte) {
  test::run_sql(path_, GetParam().sql);
  const std::string before = test::read_bytes(path_);

  const auto refused = AllOf(StartsWith("CorruptDatabase: "), HasSubstr(path_));
  EXPECT_THAT(error_of_reading(), refused);
  EXPECT_THAT(error_of_writing(), refused);

  EXPECT_TRUE(test::read_bytes(path_) == before);
}

TEST_F(Migration, LeavesTheWalOfAnotherProgramThatDied) {
  // Copied while it is open, since closing would move the WAL into the database.
  test::TemporaryDirectory elsewhere;
  SQLite::Database open = test::open_raw(elsewhere.database());
  open.exec(
      "PRAGMA journal_mode = wal; CREATE TABLE notes (text); "
      "INSERT INTO notes VALUES ('mine')");
  std::filesystem::copy_file(elsewhere.database(), path_);
  std::filesystem::copy_file(elsewhere.database() + "-wal", path_ + "-wal");
  const std::string before = test::read_bytes(path_);
  const std::string wal_before = test::read_bytes(path_ + "-wal");

  EXPECT_THAT(error_of_reading(), StartsWith("CorruptDatabase: "));

  EXPECT_TRUE(test::read_bytes(path_) == before);
  EXPECT_TRUE(test::read_bytes(path_ + "-wal") == wal_before);
}

TEST_F(Migration, AnOlderDatabaseIsMigratedAndItsRowsBecomeEvents) {
  {
    SQLite::Database older = test::open_raw(path_);
    older.exec(store::sqlite_migrations().at(0).sql);
    older.exec("PRAGMA application_id = 0x64626361; PRAGMA user_version = 1");
    older.exec(test::python_rows);
  }
  CacheManager manager({.database = path_});

  EXPECT_THAT(manager.get_all_clusters(), SizeIs(2));

  EXPECT_EQ(manager.get_database_info().schema_version,
            static_cast<std::int64_t>(store::sqlite_migrations().size()));
  EXPECT_EQ(manager.get_database_info().events, 4);
  EXPECT_TRUE(manager.verify().ok());
}

TEST_F(Migration, EntriesThatWereRegisteredBeforeThereWereLeasesKeepTheirWorkers) {
  {
    CacheManager manager({.database = path_});
    manager.register_shared_cluster_creation("h", ::getpid());
    manager.register_shared_cluster_creation("failed", 1);
    manager.update_shared_cluster_status("failed", RegistryStatus::failed);
    manager.register_shared_cluster_creation("gone", 1);
    manager.cleanup_shared_cluster_registry("gone");
  }
  test::run_sql(path_,
                "DROP TABLE shares; DROP TABLE leases; DROP TABLE terminations; "
                "DROP TABLE participants; DROP TABLE log_state; DROP TABLE entry_clusters; "
                "DROP TABLE share_runs; DROP TABLE creation_progress; PRAGMA user_version = 2");
  CacheManager manager({.database = path_});

  EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, SizeIs(0));

  EXPECT_EQ(test::query_text(path_, "SELECT group_concat(config_hash) FROM shares"), "failed,h");
  EXPECT_TRUE(manager.verify().ok());
}

TEST_F(Migration, AnEmptyFileReadsAsNoDatabaseAndIsFilledByTheFirstWrite) {
  test::write_bytes(path_, "");
  CacheManager manager({.database = path_});

  EXPECT_THAT(manager.get_all_clusters(), SizeIs(0));
  EXPECT_EQ(std::filesystem::file_size(path_), 0U);

  manager.cache_new_cluster("c");
  EXPECT_THAT(manager.get_all_clusters(), SizeIs(1));
}

TEST_F(Migration, SixteenProcessesOpenAMissingFileAtTheSameMoment) {
  constexpr int rounds = 5;
  constexpr int processes = 16;
  for (int round = 0; round < rounds; ++round) {
    const std::string path = (directory_.path() / std::to_string(round) / "cache.db").string();
    test::Pipe start;
    std::vector<test::ChildProcess> children;
    for (int child = 0; child < processes; ++child) {
      children.emplace_back([&, child] {
        start.close_write();
        start.wait();  // until the parent closes its end
        CacheManager manager({.database = path});
        manager.cache_new_cluster("c-" + std::to_string(child));
        return 0;
      });
    }

    start.close_write();

    std::vector<int> statuses;
    for (auto& child : children) statuses.push_back(child.wait());
    ASSERT_THAT(statuses, Each(0));
    CacheManager manager({.database = path});
    ASSERT_THAT(manager.get_all_clusters(), SizeIs(processes));
    ASSERT_TRUE(manager.verify().ok());
    ASSERT_THAT(manager.replay({.mode = ReplayMode::check}).differences, SizeIs(0));
  }
}

}  // namespace
}  // namespace dbcache
