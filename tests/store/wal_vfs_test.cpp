// How a WAL is written: what is on its way to the file, and what SQLite may ask for meanwhile.

#include "store/sqlite/wal_vfs.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fault_vfs.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store::sqlite {
namespace {

using test::FileAccess;
using test::FileCall;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::IsEmpty;

class WalVfsTest : public ::testing::Test {
 protected:
  WalVfsTest() {
    auto& database = open();
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    database.exec("PRAGMA wal_autocheckpoint = 0");
    database.exec("CREATE TABLE t (i INTEGER PRIMARY KEY, x BLOB); INSERT INTO t VALUES (0, NULL)");
    calls_.clear();
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

  /// What is found if everybody who has it open is killed at once.
  [[nodiscard]] std::int64_t rows_after_a_crash() const {
    const test::TemporaryDirectory left;
    std::filesystem::copy(path_, left.database());
    std::filesystem::copy(path_ + "-wal", left.database() + "-wal");
    SQLite::Database opened(left.database(), SQLite::OPEN_READWRITE, 0, "unix");
    return rows(opened);
  }

  void insert_thrice() {
    for (const char* const size : {"500", "501", "502"}) {
      for (int i = 1; i < 200; ++i) {
        database().exec("INSERT OR REPLACE INTO t VALUES (" + std::to_string(i) + ", zeroblob(" +
                        size + "))");
      }
    }
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::vector<FileCall> calls_;  ///< On the WAL.
  FileCall failing_ = FileCall::open;
  int failure_ = SQLITE_OK;
  std::function<void()> meanwhile_;  ///< Once, within a checkpoint.
  test::FaultVfs faults_{[this](const FileAccess& access) {
    if (access.call == FileCall::unmap) {
      if (const auto once = std::exchange(meanwhile_, nullptr)) once();
    }
    if (!access.on_wal()) return SQLITE_OK;
    calls_.push_back(access.call);
    return access.call == failing_ ? failure_ : SQLITE_OK;
  }};
  std::vector<std::unique_ptr<SQLite::Database>> databases_;
};

TEST_F(WalVfsTest, ATransactionIsOneWrite) {
  database().exec("BEGIN; UPDATE t SET x = zeroblob(9000); INSERT INTO t VALUES (1, 'a')");
  EXPECT_THAT(calls_, IsEmpty());

  database().exec("COMMIT");

  EXPECT_THAT(calls_, ElementsAre(FileCall::write));
  EXPECT_EQ(rows_of_others(), 2);
}

TEST_F(WalVfsTest, TheFileHasEachCommitBeforeItIsShown) {
  auto& other = open();
  for (int i = 1; i < 50; ++i) {
    database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", randomblob(300))");
    EXPECT_EQ(rows(other), i + 1);
  }
  EXPECT_EQ(integrity(other), "ok");
}

TEST_F(WalVfsTest, ALargeTransactionGoesInPieces) {
  database().exec("INSERT INTO t VALUES (1, randomblob(1000000))");

  EXPECT_THAT(calls_.size(), Gt(8U));
  EXPECT_EQ(rows_of_others(), 2);
  EXPECT_EQ(integrity(database()), "ok");
}

TEST_F(WalVfsTest, EveryPageSizeFits) {
  for (const int size : {512, 1024, 65536}) {
    test::TemporaryDirectory directory;
    SQLite::Database database(directory.database(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0,
                              wal_vfs());
    database.exec("PRAGMA page_size = " + std::to_string(size) + "; PRAGMA journal_mode = WAL");
    database.exec("CREATE TABLE t (x BLOB); INSERT INTO t VALUES (randomblob(1000000))");
    EXPECT_EQ(integrity(database), "ok") << size;
    EXPECT_EQ(SQLite::Database(directory.database(), SQLite::OPEN_READWRITE, 0, "unix")
                  .execAndGet("SELECT length(x) FROM t")
                  .getInt(),
              1000000)
        << size;
  }
}

// A small cache has pages written before the commit, read again from the WAL, and written once more
// in their place.
TEST_F(WalVfsTest, WhatWasSpilledIsReadAgain) {
  database().exec("PRAGMA cache_size = 3");
  database().exec("BEGIN");
  insert_thrice();
  EXPECT_EQ(database().execAndGet("SELECT count(*) FROM t WHERE length(x) = 502").getInt(), 199);
  EXPECT_EQ(rows_of_others(), 1);

  database().exec("COMMIT");

  EXPECT_EQ(integrity(database()), "ok");
  EXPECT_EQ(rows_of_others(), 200);
}

// The headers of the frames after them are written again too, the commit's last of all.
TEST_F(WalVfsTest, WhatWasSpilledIsInTheFileOnceItIsCommitted) {
  database().exec("PRAGMA cache_size = 3");
  database().exec("BEGIN");
  insert_thrice();
  database().exec("COMMIT");

  EXPECT_EQ(rows_after_a_crash(), 200);

  database().exec("INSERT INTO t VALUES (1000, NULL)");
  EXPECT_EQ(rows_after_a_crash(), 201);
}

TEST_F(WalVfsTest, WhatIsRolledBackIsWrittenOver) {
  database().exec("PRAGMA cache_size = 3");
  database().exec("BEGIN");
  for (int i = 1; i < 100; ++i) {
    database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", zeroblob(2000))");
  }
  database().exec("ROLLBACK");
  database().exec("INSERT INTO t VALUES (1000, NULL)");

  EXPECT_EQ(rows(database()), 2);
  EXPECT_EQ(rows_of_others(), 2);
  EXPECT_EQ(integrity(database()), "ok");
}

TEST_F(WalVfsTest, AFullDiskFailsTheCommitAndLeavesNothing) {
  failing_ = FileCall::write;
  failure_ = SQLITE_FULL;
  EXPECT_THROW(database().exec("INSERT INTO t VALUES (1, zeroblob(9000))"), SQLite::Exception);
  failure_ = SQLITE_OK;

  EXPECT_EQ(rows(database()), 1);
  database().exec("INSERT INTO t VALUES (2, NULL)");
  EXPECT_EQ(rows_of_others(), 2);
  EXPECT_EQ(integrity(database()), "ok");
}

TEST_F(WalVfsTest, AReadThatMustWriteFirstFailsWhereThatFails) {
  database().exec("PRAGMA cache_size = 3");
  database().exec("BEGIN");
  for (int i = 1; i < 8; ++i) {
    database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", zeroblob(3000))");
  }
  failing_ = FileCall::write;
  failure_ = SQLITE_IOERR_WRITE;
  EXPECT_THROW(database().exec("SELECT length(x) FROM t; INSERT INTO t VALUES (99, zeroblob(9000));"
                               "COMMIT"),
               SQLite::Exception);
  failure_ = SQLITE_OK;
  if (sqlite3_get_autocommit(database().getHandle()) == 0) database().exec("ROLLBACK");

  EXPECT_EQ(rows(database()), 1);
  EXPECT_EQ(rows_of_others(), 1);
  EXPECT_EQ(integrity(database()), "ok");
}

TEST_F(WalVfsTest, AWalThatCannotBeOpenedIsAnError) {
  databases_.clear();
  failing_ = FileCall::open;
  failure_ = SQLITE_CANTOPEN;
  EXPECT_THROW(rows(open()), SQLite::Exception);
  failure_ = SQLITE_OK;
  EXPECT_EQ(rows(open()), 1);
}

TEST_F(WalVfsTest, AVacuumAndACheckpointGoThrough) {
  for (int i = 1; i < 100; ++i) {
    database().exec("INSERT INTO t VALUES (" + std::to_string(i) + ", zeroblob(3000))");
  }
  database().exec("DELETE FROM t WHERE i > 10; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");

  EXPECT_EQ(rows_of_others(), 11);
  EXPECT_EQ(integrity(database()), "ok");
}

// Of a transaction that was larger than SQLite's cache, and rolled back: another's frames stand
// there.
TEST_F(WalVfsTest, WhatWasRolledBackIsNotWrittenOverWhatOthersCommit) {
  database().exec("PRAGMA cache_size = 3; PRAGMA wal_checkpoint(TRUNCATE)");
  for (int kept = 1; kept < 12; ++kept) {
    database().exec("PRAGMA wal_checkpoint(TRUNCATE); BEGIN");
    for (int i = 0; i < 20 + kept; ++i)
      database().exec("INSERT INTO t (x) VALUES (zeroblob(3500))");
    database().exec("ROLLBACK");
    std::int64_t expected = 0;
    {
      SQLite::Database other(path_, SQLite::OPEN_READWRITE, 0, "unix");
      other.exec("PRAGMA wal_autocheckpoint = 0");
      for (int i = 0; i < 10; ++i) other.exec("INSERT INTO t (x) VALUES (randomblob(3500))");
      expected = rows(other);
      EXPECT_EQ(rows(database()), expected) << kept;
      EXPECT_EQ(integrity(other), "ok") << kept;
      EXPECT_EQ(rows_after_a_crash(), expected) << kept;
    }
    EXPECT_EQ(integrity(database()), "ok") << kept;
  }
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
