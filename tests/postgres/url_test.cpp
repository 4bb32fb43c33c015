#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "support/errors.hpp"
#include "support/scoped_variable.hpp"

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
