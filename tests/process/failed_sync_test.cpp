// A sync that failed in one process concerns all: what was written before it may be lost, though a
// later sync succeeds. So nobody writes before what stands in the WAL is in the database.

#include <atomic>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "store/sqlite/files.hpp"
#include "store/sqlite/wal_sync.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/files.hpp"
#include "support/holder.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using store::sqlite::SharedState;
using store::sqlite::WalSync;
using test::FileAccess;
using test::FileCall;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::chrono::milliseconds short_timeout{50};

/// A process whose sync of the WAL has failed, and which keeps the database open.
class Failed {
 public:
  explicit Failed(const std::string& path)
      : child_([=, this] {
          failed_.close_read();
          let_go_.close_write();
          std::atomic<bool> failing = false;
          const test::FaultVfs vfs([&](const FileAccess& access) {
            return failing && access.on_wal() && access.call == FileCall::sync ? SQLITE_IOERR_FSYNC
                                                                               : SQLITE_OK;
          });
          CacheManager manager({.database = path});
          for (int i = 0; i < 50; ++i) manager.increment_shared_cluster_usage("h");
          failing = true;
          const std::string error =
              test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
          failed_.write(error.data(), error.size());
          failed_.close_write();
          let_go_.wait();
          failing = false;
          manager.increment_shared_cluster_usage("h");
          return 0;
        }) {
    failed_.close_write();
    let_go_.close_read();
    error_ = failed_.read_to_end();
  }

  [[nodiscard]] const std::string& error() const { return error_; }
  int go_on_and_wait() {
    let_go_.close_write();
    return child_.wait();
  }

 private:
  test::Pipe failed_;
  test::Pipe let_go_;
  test::ChildProcess child_;
  std::string error_;
};

class FailedSync : public ::testing::Test {
 protected:
  FailedSync() { CacheManager({.database = path_}).register_shared_cluster_creation("h", 1); }

  [[nodiscard]] bool has_failed() const {
    const auto state = SharedState::open(path_, *store::sqlite::find_database(path_));
    return WalSync(*state).failures() != 0;
  }
  [[nodiscard]] std::uintmax_t wal_size() const {
    return std::filesystem::file_size(path_ + "-wal");
  }
  static std::string increment(CacheManager& manager) {
    return test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
  }
  [[nodiscard]] std::int64_t count() const {
    return CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(FailedSync, OfOneProcessIsMendedByTheNextWriteOfAnother) {
  CacheManager manager({.database = path_});
  EXPECT_EQ(increment(manager), "");
  Failed other(path_);
  ASSERT_THAT(other.error(), StartsWith("StorageFailure (unknown): "));
  EXPECT_TRUE(has_failed());
  const auto before = wal_size();

  EXPECT_EQ(increment(manager), "");

  EXPECT_FALSE(has_failed());
  EXPECT_LT(wal_size(), before) << "the WAL was not emptied";
  EXPECT_EQ(other.go_on_and_wait(), 0);
  EXPECT_EQ(count(), 1 + 1 + 51 + 1 + 1);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(FailedSync, IsMendedByTheProcessThatSawItFail) {
  Failed other(path_);
  ASSERT_TRUE(has_failed());

  EXPECT_EQ(other.go_on_and_wait(), 0);

  EXPECT_FALSE(has_failed());
  EXPECT_EQ(count(), 1 + 51 + 1);
}

TEST_F(FailedSync, StopsTheWritersOfAnotherProcessAsLongAsAReaderKeepsTheWal) {
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  EXPECT_EQ(increment(manager), "");
  Failed other(path_);
  test::Holder reader(path_, "BEGIN; SELECT count(*) FROM events");

  EXPECT_THAT(increment(manager), StartsWith("Busy: "));
  EXPECT_TRUE(has_failed());
  EXPECT_EQ(count(), 1 + 1 + 51) << "reading goes on";

  reader.release_and_wait();
  EXPECT_EQ(increment(manager), "");
  EXPECT_FALSE(has_failed());
  EXPECT_EQ(other.go_on_and_wait(), 0);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(FailedSync, StopsAProcessThatComesLaterToo) {
  Failed other(path_);
  test::Holder reader(path_, "BEGIN; SELECT count(*) FROM events");

  EXPECT_THAT(test::in_child([&] {
                CacheManager manager({.database = path_, .busy_timeout = short_timeout});
                return increment(manager);
              }),
              StartsWith("Busy: "));

  reader.release_and_wait();
  EXPECT_EQ(test::in_child([&] {
              CacheManager manager({.database = path_});
              return increment(manager);
            }),
            "");
}

TEST_F(FailedSync, StopsWritersAsLongAsTheDiskFails) {
  std::atomic<bool> failing = false;
  const test::FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.call == FileCall::sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  });
  CacheManager manager({.database = path_});
  EXPECT_EQ(increment(manager), "");
  failing = true;
  EXPECT_THAT(increment(manager), StartsWith("StorageFailure (unknown): "));
  const auto before = count();

  for (int i = 0; i < 3; ++i) EXPECT_THAT(increment(manager), StartsWith("StorageFailure"));

  EXPECT_EQ(count(), before) << "something was written onto a failing disk";
  EXPECT_TRUE(has_failed());
  failing = false;
  EXPECT_EQ(increment(manager), "");
  EXPECT_FALSE(has_failed());
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(FailedSync, OfADatabaseThatTurnsOutDamagedStopsWritersForGood) {
  {
    CacheManager manager({.database = path_, .durability = Durability::relaxed});
    for (int i = 0; i < 500; ++i) EXPECT_EQ(increment(manager), "");
    manager.optimize_database();
  }
  Failed other(path_);
  // A page that the WAL does not have, in the middle of the log.
  std::string bytes = test::read_bytes(path_);
  const std::size_t page = bytes.size() / 4096 / 2;
  bytes.replace(page * 4096, 4096, 4096, '\xFF');
  {
    // In place, as a disk would.
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  CacheManager manager({.database = path_});

  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(increment(manager), AllOf(StartsWith("CorruptDatabase: "), HasSubstr(path_)));
  }

  EXPECT_TRUE(has_failed());
}

TEST_F(FailedSync, OfAnOptimizationIsSeenByTheOthersToo) {
  // What was committed but not synced before (relaxed) is before later commits in the WAL: if it is
  // lost, they are, whoever syncs them.
  std::atomic<bool> failing = false;
  const test::FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.on_wal() && access.call == FileCall::sync ? SQLITE_IOERR_FSYNC
                                                                       : SQLITE_OK;
  });
  CacheManager manager({.database = path_, .durability = Durability::relaxed});
  EXPECT_EQ(increment(manager), "");

  failing = true;
  EXPECT_THAT(test::error_of([&] {
                manager.optimize_database();
                return 0;
              }),
              StartsWith("StorageFailure"));
  failing = false;

  EXPECT_TRUE(has_failed());
}

TEST_F(FailedSync, IsMendedBeforeAnOptimizationRewritesTheDatabase) {
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  Failed other(path_);
  test::Holder reader(path_, "BEGIN; SELECT count(*) FROM events");
  const auto before = wal_size();

  EXPECT_THAT(test::error_of([&] {
                manager.optimize_database(Vacuum::yes);
                return 0;
              }),
              StartsWith("Busy: "));
  EXPECT_EQ(wal_size(), before) << "it was rewritten while acknowledged changes may be missing";
  EXPECT_TRUE(has_failed());

  reader.release_and_wait();
  manager.optimize_database(Vacuum::yes);
  EXPECT_FALSE(has_failed());
  EXPECT_EQ(other.go_on_and_wait(), 0);
  EXPECT_EQ(count(), 1 + 51 + 1);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(FailedSync, OfACheckpointIsSeenByTheOthersToo) {
  std::atomic<bool> failing = false;
  const test::FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.call == FileCall::sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  });
  CacheManager manager({.database = path_, .durability = Durability::relaxed});
  EXPECT_EQ(increment(manager), "");

  failing = true;
  // Until a checkpoint is due.
  for (int i = 0; i < 3000 && !has_failed(); ++i) static_cast<void>(increment(manager));

  EXPECT_TRUE(has_failed());
  const auto stopped = count();
  EXPECT_THAT(increment(manager), StartsWith("StorageFailure"));
  EXPECT_EQ(count(), stopped);
  failing = false;
  EXPECT_EQ(increment(manager), "");
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

}  // namespace
}  // namespace dbcache
