#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/python_database.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class Schema : public ::testing::Test {
 protected:
  Schema() {
    CacheManager manager({.database = path_});
    manager.cache_new_cluster("c-1");
    manager.cache_new_cluster("c-2");
    manager.register_shared_cluster_creation("h", 1);
  }

  [[nodiscard]] std::string refusal(const std::string& sql) const {
    try {
      test::run_sql(path_, sql);
      return "not refused";
    } catch (const SQLite::Exception& error) {
      return error.what();
    }
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::string log_dump_ =
      "SELECT group_concat(quote(position) || quote(stream) || quote(version) "
      "|| quote(type) || quote(payload) || quote(metadata) || "
      "quote(recorded_at) || quote(command_id) || quote(hash)) FROM events";
};

TEST_F(Schema, TheDocumentedTablesAndIndexesStandAsDocumented) {
  std::vector<std::string> documented;
  std::string text = test::documented_schema;
  boost::algorithm::split(documented, text, boost::is_any_of(";"));
  for (std::string& statement : documented) boost::algorithm::trim(statement);
  std::erase(documented, "");
  ASSERT_EQ(documented.size(), 8U);

  const auto stored = test::query_column(
      path_,
      "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
      "AND tbl_name IN ('clusters', 'shared_cluster_registry')");

  EXPECT_THAT(stored, ::testing::UnorderedElementsAreArray(documented));
}

TEST_F(Schema, BesideTheDocumentedTablesStandTheLogAndTheTablesOfLeases) {
  EXPECT_THAT(
      test::query_column(path_, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"),
      ElementsAre("clusters", "creation_progress", "entry_clusters", "events", "leases",
                  "log_state", "participants", "share_runs", "shared_cluster_registry", "shares",
                  "sqlite_sequence", "terminations"));
}

TEST_F(Schema, TheDatabaseIsInWalMode) {
  EXPECT_EQ(test::query_text(path_, "PRAGMA journal_mode"), "wal");
}

TEST_F(Schema, TheForeignKeyIsNotEnforced) {
  CacheManager manager({.database = path_});

  manager.update_shared_cluster_status("h", RegistryStatus::ready, {.cluster_id = "not-cached"});

  EXPECT_EQ(manager.get_shared_cluster_info("h")->cluster_id, "not-cached");
}

/// A statement that would change an event, as a person at the sqlite3 shell may try it.
struct Attempt {
  std::string name;
  std::string sql;

  friend std::ostream& operator<<(std::ostream& out, const Attempt& attempt) {
    return out << attempt.name;
  }
};

class AppendOnly : public Schema, public ::testing::WithParamInterface<Attempt> {};

INSTANTIATE_TEST_SUITE_P(
    Statements, AppendOnly,
    ::testing::Values(
        Attempt{"Update", "UPDATE events SET payload = '{}' WHERE position = 1"},
        Attempt{"UpdateOfEveryRow", "UPDATE events SET type = type"},
        Attempt{"UpdateOrReplace", "UPDATE OR REPLACE events SET position = 2 WHERE position = 1"},
        Attempt{"UpdateOrIgnore", "UPDATE OR IGNORE events SET version = 9 WHERE position = 1"},
        Attempt{"Delete", "DELETE FROM events WHERE position = 3"},
        Attempt{"DeleteOfEveryRow", "DELETE FROM events"},
        Attempt{"InsertOfATakenPosition",
                "INSERT INTO events VALUES (1, 's', 1, 't', '{}', '{}', 0, x'00', x'00')"},
        Attempt{"InsertOrReplaceOfAPosition",
                "INSERT OR REPLACE INTO events "
                "VALUES (1, 's', 1, 't', '{}', '{}', 0, x'00', x'00')"},
        Attempt{"ReplaceOfAVersion",
                "REPLACE INTO events "
                "VALUES (99, 'cluster-c-1', 1, 't', '{}', '{}', 0, x'00', x'00')"},
        Attempt{"InsertOrIgnore",
                "INSERT OR IGNORE INTO events "
                "VALUES (1, 's', 1, 't', '{}', '{}', 0, x'00', x'00')"},
        Attempt{"UpsertOfAPosition",
                "INSERT INTO events VALUES (1, 's', 1, 't', '{}', '{}', 0, x'00', x'00') "
                "ON CONFLICT (position) DO UPDATE SET payload = '{}'"},
        Attempt{"UpsertOfAVersion",
                "INSERT INTO events "
                "VALUES (99, 'cluster-c-1', 1, 't', '{}', '{}', 0, x'00', x'00') "
                "ON CONFLICT (stream, version) DO UPDATE SET payload = '{}'"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(AppendOnly, RefusesItAndKeepsTheLog) {
  const std::string before = test::query_text(path_, log_dump_);

  EXPECT_THAT(refusal(GetParam().sql), HasSubstr("events are append-only"));

  EXPECT_EQ(test::query_text(path_, log_dump_), before);
}

TEST_F(Schema, AColumnOfTheLogHoldsNothingButItsType) {
  EXPECT_THAT(refusal("INSERT INTO events "
                      "VALUES (99, 's', 1, 't', x'00', '{}', 0, x'00', x'00')"),
              HasSubstr("cannot store BLOB value in TEXT column"));
}

}  // namespace
}  // namespace dbcache
