// What a move meets on SQLite alone: links, the Python system's databases, hands on the file.

#include <filesystem>

#include <gmock/gmock.h>

#include "store/move_contract.hpp"
#include "support/errors.hpp"
#include "support/python_database.hpp"
#include "support/raw_database.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(MoveOfSqlite, ALinkToADatabaseIsTheSameDatabase) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string path = directory.database();
  fill({.database = path});
  const std::string link = (directory.path() / "link.db").string();
  const std::string hard_link = (directory.path() / "hard.db").string();
  std::filesystem::create_symlink(path, link);
  std::filesystem::create_hard_link(path, hard_link);

  for (const std::string& other : {link, hard_link}) {
    EXPECT_THAT(test::error_of([&] { return move_log({.database = path}, {.database = other}); }),
                HasSubstr("are the same database"));
  }

  EXPECT_FALSE(std::filesystem::exists(hard_link + "-wal"));
}

TEST(MoveOfSqlite, ThePythonSystemsDatabaseIsNoTargetAndNotAdopted) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  const std::string to = (directory.path() / "python.db").string();
  fill({.database = from});
  test::make_python_database(to);

  EXPECT_THAT(test::error_of([&] { return move_log({.database = from}, {.database = to}); }),
              StartsWith("InvalidArgument: "));

  EXPECT_EQ(test::query_text(to, "SELECT count(*) FROM sqlite_master WHERE name = 'events'"), "0");
  EXPECT_EQ(CacheManager({.database = from}).get_database_info().closed, std::nullopt);
}

TEST(MoveOfSqlite, ThePythonSystemsDatabaseIsAdoptedAndMoved) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  const std::string to = (directory.path() / "moved.db").string();
  test::make_python_database(from);

  const MoveReport report = move_log({.database = from}, {.database = to});

  EXPECT_EQ(report.copied, 4);
  EXPECT_EQ(contents_of({.database = to}), contents_of({.database = from}));
}

TEST(MoveOfSqlite, AClosedLogRefusesThoseWhoWriteItByHand) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  fill({.database = from});
  move_log({.database = from}, {.database = (directory.path() / "it's.db").string()});

  EXPECT_THAT(test::error_of([&] {
                test::run_sql(from,
                              "INSERT OR IGNORE INTO events "
                              "VALUES (99, 's', 1, 't', '{}', '{}', 0, x'00', x'00')");
                return 0;
              }),
              HasSubstr("its log was moved to " + (directory.path() / "it's.db").string()));
}

TEST(MoveOfSqlite, AnAlteredLogIsNotMoved) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  fill({.database = from});
  test::drop_triggers(from);
  test::run_sql(from, "UPDATE events SET metadata = '{}' WHERE position = 2");

  EXPECT_THAT(test::error_of([&] {
                return move_log({.database = from},
                                {.database = (directory.path() / "to.db").string()});
              }),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("`dbcache verify`")));

  EXPECT_EQ(CacheManager({.database = from}).get_database_info().closed, std::nullopt);
}

}  // namespace
}  // namespace dbcache::store
