// Where a database is can be asked without touching it.

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

TEST(ALocation, IsTheDocumentedOneUnderTheDirectoryThatWasCurrentAtConstruction) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  const CacheManager manager;
  std::filesystem::current_path(before);

  const DatabaseLocation location = manager.database_location();

  EXPECT_EQ(location.path, std::filesystem::canonical(directory.path()) /
                               "Environment/Databricks/cluster_cache.db");
  EXPECT_EQ(location.name, location.path);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(ALocation, OfAServerThatIsOutOfReachIsToldWithoutItsPassword) {
  const CacheManager manager(
      {.database = "postgresql://ci:hunter2@db.invalid/ci", .schema = "team"});

  const DatabaseLocation location = manager.database_location();

  EXPECT_THAT(location.path, ::testing::Not(::testing::HasSubstr("hunter2")));
  EXPECT_EQ(location.name, "postgresql://ci:hunter2@db.invalid/ci");
  EXPECT_EQ(location.schema, "team");
}

}  // namespace
}  // namespace dbcache
