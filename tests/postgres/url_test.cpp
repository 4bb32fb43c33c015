#include <chrono>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "support/errors.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

// URLs that name no server.
namespace dbcache::test {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string error_for(const std::string& url) {
  const BareEnvironment environment;
  return error_of([&] {
    return CacheManager(Options{.database = url, .busy_timeout = milliseconds{0}})
        .get_all_clusters();
  });
}

TEST(PostgresUrl, ABadlyEscapedPasswordIsNotShown) {
  for (const char* const url :
       {"postgresql://u:p%zzSECRET@h.invalid/db",
        "postgresql://u@h.invalid/db?password=SEC%zzSECRET",
        "postgresql://u:SECRET/SECRET@h.invalid/db", "postgresql://u:SECRET@SECRET@h.invalid/db",
        "postgresql://u@h.invalid/db?pass=SECRET", "POSTGRESQL://u:SECRET@h.invalid/db",
        "postgres:u:SECRET@h.invalid/db", "postgresq://u:SECRET@h.invalid/db"}) {
    EXPECT_THAT(error_for(url), AllOf(StartsWith("InvalidArgument: "), Not(HasSubstr("SECRET"))))
        << url;
  }
}

TEST(PostgresUrl, WhatLooksLikeAServerIsNotTakenForAFile) {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  for (const char* const database :
       {"host=h.invalid dbname=ci password=SECRET", "dbname=ci", "service=ci", "user = u",
        "Host=h.invalid;Database=ci;Password=SECRET", "Server=h.invalid;User Id=u;Password=SECRET",
        "hostaddr=10.0.0.1 port=5432", "jdbc:postgresql:ci?password=SECRET",
        "jdbc:postgresql://h.invalid/ci?password=SECRET", "postgresql+psycopg2://u:SECRET@h/ci",
        "pgsql:host=h.invalid;password=SECRET", "h.invalid:5432/ci", "u:SECRET@h.invalid:5432/ci",
        "sqlite:///cache.db", "sqlite:cache.db", " postgresql://u:SECRET@h.invalid/ci",
        "'postgresql://u:SECRET@h.invalid/ci'"}) {
    EXPECT_THAT(
        error_of([&] { return CacheManager(Options{.database = database}).create_database(); }),
        AllOf(StartsWith("InvalidArgument: the database looks like "), Not(HasSubstr("SECRET"))))
        << database;
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  for (const char* const path : {"./host=a.db", "v=1/cache.db", "ci:nightly.db", "a:b/cache.db"}) {
    CacheManager(Options{.database = path}).create_database();
    EXPECT_TRUE(std::filesystem::exists(path)) << path;
  }
  std::filesystem::current_path(before);
}

TEST(PostgresUrl, ReservedSchemaNamesAreRefused) {
  const BareEnvironment environment;
  for (const char* const schema : {"pg_dbcache", "pg_catalog", "information_schema"}) {
    EXPECT_THAT(
        error_of([&] {
          return CacheManager(Options{.database = "postgresql://h.invalid/ci", .schema = schema})
              .create_database();
        }),
        AllOf(StartsWith("InvalidArgument: "), HasSubstr("reserves the schema name")))
        << schema;
  }
}

TEST(PostgresUrl, AnErrorShowsNoPassword) {
  for (const char* const url :
       {"postgresql://u:SECRET@h.invalid/db", "postgresql://u@h.invalid/db?password=SECRET",
        "postgresql://u:SECRET?SECRET@h.invalid/db", "postgresql://u:SECRET#SECRET@h.invalid/db"}) {
    EXPECT_THAT(error_for(url), AllOf(StartsWith("StorageFailure: "), Not(HasSubstr("SECRET"))))
        << url;
  }
}

TEST(PostgresUrl, AnUnknownHostDoesNotEndTheWaitForTheOther) {
  const BareEnvironment environment;
  CacheManager manager(Options{.database = "postgresql://u@h.invalid,127.0.0.1:1/db",
                               .busy_timeout = milliseconds{300}});
  const auto began = std::chrono::steady_clock::now();

  const std::string error = error_of([&] { return manager.get_all_clusters(); });

  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds{100});
  EXPECT_THAT(error, AllOf(HasSubstr("h.invalid"), HasSubstr("; connection to server at")));
}

}  // namespace
}  // namespace dbcache::test
