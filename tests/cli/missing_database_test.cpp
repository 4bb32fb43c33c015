#include <filesystem>

#include <gmock/gmock.h>

#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

class MissingDatabaseTest : public CliTest {};

TEST_F(MissingDatabaseTest, AReadingCommandCreatesNoDatabase) {
  for (const char* const line :
       {"status", "status --json", "list", "list --json", "shared", "shared team-tests", "dbinfo",
        "dbinfo --json", "history", "history cluster-1", "can-join team-tests", "verify",
        "replay --check", "hash --config -"}) {
    run(line, "{}");
    EXPECT_TRUE(std::filesystem::is_empty(".")) << line;
  }
}

TEST_F(MissingDatabaseTest, AMissingDatabaseIsReported) {
  expect_golden("no_database", transcript({"list", "shared", "dbinfo", "dbinfo --json", "history",
                                           "history cluster-1", "verify", "replay --check",
                                           "can-join team-tests"}));
}

}  // namespace
}  // namespace dbcache::cli
