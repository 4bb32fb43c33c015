#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/files.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

class Optimize : public ::testing::Test {
 protected:
  void fill() {
    for (int i = 0; i < 30; ++i) {
      manager_.cache_new_cluster("c-" + std::to_string(i), {{"note", std::string(5000, 'x')}});
    }
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager manager_{{.database = path_, .durability = Durability::relaxed}};
};

TEST_F(Optimize, EmptiesTheWalIntoTheDatabase) {
  fill();
  ASSERT_GT(manager_.get_database_info().wal_size, 0U);

  manager_.optimize_database();

  EXPECT_EQ(std::filesystem::file_size(path_ + "-wal"), 0U);
  EXPECT_GT(std::filesystem::file_size(path_), 30U * 5000U);
}

TEST_F(Optimize, RefreshesThePlannersStatistics) {
  fill();

  manager_.optimize_database();

  EXPECT_THAT(test::query_column(path_, "SELECT tbl FROM sqlite_stat1"), Not(IsEmpty()));
}

TEST_F(Optimize, VacuumGivesFreePagesBack) {
  fill();
  test::drop_triggers(path_);
  test::run_sql(path_, "DELETE FROM events");
  manager_.optimize_database();
  const auto before = std::filesystem::file_size(path_);

  manager_.optimize_database(Vacuum::yes);

  EXPECT_LT(std::filesystem::file_size(path_), before / 2);
}

TEST_F(Optimize, WithoutVacuumTheFileKeepsItsPages) {
  fill();
  manager_.optimize_database();
  const auto before = std::filesystem::file_size(path_);
  manager_.clear_cluster_cache();

  manager_.optimize_database();

  EXPECT_GE(std::filesystem::file_size(path_), before);
}

TEST_F(Optimize, ChangesNoRowAndNoEvent) {
  fill();
  const auto rows = manager_.get_all_clusters();
  const auto head = manager_.verify().head;

  manager_.optimize_database(Vacuum::yes);

  EXPECT_EQ(manager_.get_all_clusters(), rows);
  EXPECT_EQ(manager_.verify().head, head);
  EXPECT_THAT(manager_.replay({.mode = ReplayMode::check}).differences, IsEmpty());
}

TEST_F(Optimize, OfAMissingDatabaseMakesNothing) {
  const test::TemporaryDirectory empty;

  CacheManager({.database = (empty.path() / "deep" / "cache.db").string()}).optimize_database();

  EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
}

class DatabaseFacts : public Optimize {};

TEST_F(DatabaseFacts, OfAMissingDatabaseAreAllNothing) {
  const DatabaseInfo info = manager_.get_database_info();

  EXPECT_EQ(info.path, path_);
  EXPECT_FALSE(info.exists);
  EXPECT_EQ(info.database_size, 0U);
  EXPECT_FALSE(info.wal_exists);
  EXPECT_FALSE(info.shm_exists);
  EXPECT_EQ(info.events, 0);
  EXPECT_EQ(info.schema_version, 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(DatabaseFacts, TellTheFilesAsTheyLieThere) {
  fill();

  const DatabaseInfo info = manager_.get_database_info();

  EXPECT_TRUE(info.exists);
  EXPECT_EQ(info.database_size, std::filesystem::file_size(path_));
  EXPECT_TRUE(info.wal_exists);
  EXPECT_EQ(info.wal_size, std::filesystem::file_size(path_ + "-wal"));
  EXPECT_TRUE(info.shm_exists);
  EXPECT_EQ(info.shm_size, std::filesystem::file_size(path_ + "-shm"));
  EXPECT_EQ(info.schema_version, 9);
  EXPECT_EQ(info.events, 59);  // 30 cached, 29 of them deactivated
}

TEST_F(DatabaseFacts, TellWhetherTheSideFilesWereThereBefore) {
  CacheManager({.database = path_}).cache_new_cluster("c");

  const DatabaseInfo info = manager_.get_database_info();

  EXPECT_FALSE(info.wal_exists);
  EXPECT_FALSE(info.shm_exists);
}

TEST_F(DatabaseFacts, ThePathIsAbsolute) {
  const auto here = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());
  const CacheManager manager({.database = "below/../cache.db"});
  std::filesystem::current_path(here);

  EXPECT_EQ(manager.get_database_info().path,
            std::filesystem::canonical(directory_.path()) / "cache.db");
}

TEST_F(DatabaseFacts, StatisticsTellTheSizeOfTheFile) {
  EXPECT_EQ(manager_.get_cache_statistics().cache_file_size, 0U);
  fill();

  EXPECT_EQ(manager_.get_cache_statistics().cache_file_size, std::filesystem::file_size(path_));
}

}  // namespace
}  // namespace dbcache
