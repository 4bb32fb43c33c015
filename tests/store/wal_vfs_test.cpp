// A checkpoint beneath which the WAL is begun anew.

#include "store/sqlite/wal_vfs.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include "support/fault_vfs.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store::sqlite {
namespace {

class WalVfsTest : public ::testing::Test {
 protected:
  WalVfsTest() {
    auto& database = open();
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    database.exec("PRAGMA wal_autocheckpoint = 0");
    database.exec("CREATE TABLE t (i INTEGER PRIMARY KEY, x BLOB); INSERT INTO t VALUES (0, NULL)");
  }

  SQLite::Database& open() {
    databases_.push_back(std::make_unique<SQLite::Database>(
        path_, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, wal_vfs()));
    return *databases_.back();
  }
  SQLite::Database& database() { return *databases_.front(); }

  static std::int64_t rows(SQLite::Database& database) {
    return database.execAndGet("SELECT count(*) FROM t").getInt64();
  }
  static std::string integrity(SQLite::Database& database) {
    return database.execAndGet("PRAGMA integrity_check").getString();
  }

  /// What the file, as it is on disk, says to a program that does not know of this VFS.
  [[nodiscard]] std::int64_t rows_of_others() const {
    SQLite::Database other(path_, SQLite::OPEN_READWRITE, 0, "unix");
    return rows(other);
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::function<void()> meanwhile_;  ///< Once, within a checkpoint.
  test::FaultVfs faults_{[this](const test::FileAccess& access) {
    if (access.call == test::FileCall::unmap) {
      if (const auto once = std::exchange(meanwhile_, nullptr)) once();
    }
    return SQLITE_OK;
  }};
  std::vector<std::unique_ptr<SQLite::Database>> databases_;
};

TEST_F(WalVfsTest, AVacuumAndACheckpointGoThrough) {
  for (int i = 1; i < 100; ++i) {
    database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", zeroblob(3000))");
  }
  database().exec("DELETE FROM t WHERE i > 10; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");

  EXPECT_EQ(rows_of_others(), 11);
  EXPECT_EQ(integrity(database()), "ok");
}

int moved_by_checkpoint(SQLite::Database& database) {
  int moved = -1;
  EXPECT_EQ(sqlite3_wal_checkpoint_v2(database.getHandle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                      nullptr, &moved),
            SQLITE_OK);
  return moved;
}

// https://www.sqlite.org/wal.html, "The WAL-Reset Bug", in SQLite up to 3.51.2: a checkpoint
// counted as moved what another wrote into a WAL that it had begun anew meanwhile, and nobody moved
// it.
TEST_F(WalVfsTest, AWalThatIsBegunAnewBeneathACheckpointIsMovedAllTheSame) {
  const auto insert = [this](int from, int to) {
    for (int i = from; i < to; ++i) {
      database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", randomblob(3000))");
    }
  };
  auto& other = open();
  EXPECT_EQ(rows(other), 1);
  insert(1, 50);
  EXPECT_GT(moved_by_checkpoint(database()), 49);
  meanwhile_ = [&] { insert(50, 55); };
  EXPECT_EQ(moved_by_checkpoint(other), 0);
  EXPECT_EQ(meanwhile_, nullptr);
  insert(55, 200);
  EXPECT_GT(moved_by_checkpoint(other), 150);
  insert(200, 201);  // over what was moved
  EXPECT_EQ(rows(database()), 201);
  EXPECT_EQ(rows_of_others(), 201);
  EXPECT_EQ(integrity(other), "ok");
}

TEST_F(WalVfsTest, ItIsOneForEachThatItStandsBefore) {
  EXPECT_STREQ(wal_vfs(), wal_vfs());
  EXPECT_STRNE(wal_vfs(), sqlite3_vfs_find(nullptr)->zName);
}

}  // namespace
}  // namespace dbcache::store::sqlite
