#include <atomic>
#include <sched.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/files.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using test::FaultVfs;
using test::FileAccess;
using test::FileCall;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class FailingDisk : public ::testing::Test {
 protected:
  FailingDisk() { manager_.register_shared_cluster_creation("h", 1); }

  std::string increment(CacheManager& manager) const {
    return test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
  }
  void expect_sound(std::int64_t count) {
    EXPECT_EQ(manager_.get_shared_cluster_info("h")->usage_count, count);
    EXPECT_TRUE(manager_.verify().ok());
    EXPECT_THAT(manager_.replay({.mode = ReplayMode::check}).differences, IsEmpty());
    EXPECT_EQ(test::query_text(path_, "PRAGMA integrity_check"), "ok");
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager manager_{{.database = path_}};
};

/// The n-th write of a call fails, for each n: in the journal, the WAL or the database.
class FailingWrite : public FailingDisk, public ::testing::WithParamInterface<int> {
 protected:
  /// Lets all but the n-th write through.
  FaultVfs fail(int code) {
    return FaultVfs([this, code](const FileAccess& access) {
      if (access.call != FileCall::write) return SQLITE_OK;
      return writes_++ == GetParam() ? code : SQLITE_OK;
    });
  }

  std::atomic<int> writes_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Writes, FailingWrite, ::testing::Range(0, 24));

TEST_P(FailingWrite, OfAFullDiskChangesNothing) {
  std::string error;
  {
    const FaultVfs vfs = fail(SQLITE_FULL);
    CacheManager manager({.database = path_});  // another connection, which the shim sees
    error = increment(manager);
  }

  if (error.empty()) {
    expect_sound(2);  // it took fewer writes
  } else {
    EXPECT_THAT(error, AllOf(StartsWith("StorageFailure: "), HasSubstr(path_), HasSubstr("space")));
    expect_sound(1);
  }
}

TEST_P(FailingWrite, OfABrokenDiskIsToldAndTheDatabaseStaysSound) {
  std::string error;
  {
    const FaultVfs vfs = fail(SQLITE_IOERR_WRITE);
    CacheManager manager({.database = path_});
    error = increment(manager);
  }

  if (error.empty()) {
    expect_sound(2);
  } else {
    EXPECT_THAT(error, AllOf(StartsWith("StorageFailure"), HasSubstr(path_)));
    const auto count = manager_.get_shared_cluster_info("h")->usage_count;
    EXPECT_TRUE(count == 1 || (count == 2 && error.starts_with("StorageFailure (unknown)")));
    expect_sound(count);
  }
}

TEST_P(FailingWrite, OfAFullDiskWhileTheDatabaseIsMadeLeavesNoHalfOfOne) {
  const auto place = directory_.path() / "fresh";
  std::filesystem::create_directory(place);
  const std::string fresh = (place / "fresh.db").string();
  {
    const FaultVfs vfs = fail(SQLITE_FULL);
    CacheManager manager({.database = fresh});
    static_cast<void>(test::error_of([&] {
      manager.cache_new_cluster("c");
      return 0;
    }));
  }
  EXPECT_THAT(test::descriptors_below(place), IsEmpty());

  CacheManager manager({.database = fresh});

  manager.cache_new_cluster("d");

  EXPECT_TRUE(manager.verify().ok());
  EXPECT_EQ(manager.load_cluster_cache()->cluster_id, "d");
}

TEST_P(FailingWrite, OfAFullDiskWhileADatabaseIsAdoptedLosesNoRow) {
  const std::string python = (directory_.path() / "python.db").string();
  test::run_sql(python,
                "CREATE TABLE clusters (id INTEGER PRIMARY KEY AUTOINCREMENT, cluster_id TEXT "
                "UNIQUE NOT NULL, cluster_name TEXT, host TEXT, num_workers INTEGER, status TEXT, "
                "created_at TIMESTAMP, expiry_time TIMESTAMP NOT NULL, last_accessed TIMESTAMP, "
                "access_count INTEGER, is_active BOOLEAN, is_shared BOOLEAN); "
                "CREATE TABLE shared_cluster_registry (id INTEGER PRIMARY KEY AUTOINCREMENT, "
                "config_hash TEXT UNIQUE NOT NULL, cluster_id TEXT, status TEXT, worker_pid "
                "INTEGER, creation_time TIMESTAMP, usage_count INTEGER, error_message TEXT); "
                "INSERT INTO clusters (cluster_id, expiry_time) VALUES ('a', '2025-01-01 00:00:00')"
                ", ('b', '2025-01-01 00:00:00')");
  {
    const FaultVfs vfs = fail(SQLITE_FULL);
    CacheManager manager({.database = python});
    static_cast<void>(test::error_of([&] { return manager.get_all_clusters(); }));
  }

  CacheManager manager({.database = python});

  EXPECT_EQ(manager.get_all_clusters().size(), 2U);
  EXPECT_EQ(manager.history().size(), 2U);
  EXPECT_TRUE(manager.verify().ok());
}

TEST_F(FailingDisk, AManagerWorksAgainOnceThereIsSpace) {
  std::atomic<bool> full = false;
  const FaultVfs vfs([&](const FileAccess& access) {
    return full && access.call == FileCall::write ? SQLITE_FULL : SQLITE_OK;
  });
  CacheManager manager({.database = path_});
  EXPECT_EQ(increment(manager), "");

  full = true;
  EXPECT_THAT(increment(manager), StartsWith("StorageFailure: "));
  EXPECT_THAT(increment(manager), StartsWith("StorageFailure: "));
  full = false;

  EXPECT_EQ(increment(manager), "");
  expect_sound(3);
}

TEST_F(FailingDisk, AFailingFsyncLeavesTheOutcomeUnknown) {
  std::atomic<bool> failing = false;
  const FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.call == FileCall::sync && access.on_wal() ? SQLITE_IOERR_FSYNC
                                                                       : SQLITE_OK;
  });
  CacheManager manager({.database = path_});
  EXPECT_EQ(increment(manager), "");

  failing = true;
  EXPECT_THAT(increment(manager), AllOf(StartsWith("StorageFailure (unknown): "), HasSubstr(path_),
                                        HasSubstr("not known")));
  failing = false;

  EXPECT_EQ(increment(manager), "");
  const auto count = manager_.get_shared_cluster_info("h")->usage_count;
  EXPECT_THAT(count, ::testing::AnyOf(3, 4));
  expect_sound(count);
}

TEST_F(FailingDisk, AFailingFsyncOfARelaxedCreationLeavesTheOutcomeUnknown) {
  std::atomic<bool> failing = false;
  const FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.call == FileCall::sync && access.on_wal() ? SQLITE_IOERR_FSYNC
                                                                       : SQLITE_OK;
  });
  CacheManager manager({.database = path_, .durability = Durability::relaxed});
  EXPECT_EQ(increment(manager), "");

  failing = true;
  const std::string error =
      test::error_of([&] { return manager.register_shared_cluster_creation("new", 1); });
  failing = false;

  EXPECT_THAT(error, StartsWith("StorageFailure (unknown): "));
  EXPECT_TRUE(manager.get_shared_cluster_info("new").has_value());
  expect_sound(2);
}

TEST_F(FailingDisk, AfterAFailedFsyncTheConnectionIsNotUsedAgain) {
  std::atomic<bool> failing = false;
  std::atomic<int> opened = 0;
  const FaultVfs vfs([&](const FileAccess& access) {
    if (access.call == FileCall::open && access.path == path_) ++opened;
    return failing && access.call == FileCall::sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  });
  CacheManager manager({.database = path_, .durability = Durability::relaxed});
  EXPECT_EQ(increment(manager), "");
  failing = true;
  EXPECT_NE(test::error_of([&] { return manager.register_shared_cluster_creation("new", 1); }), "");
  failing = false;
  const int before = opened;

  EXPECT_EQ(increment(manager), "");

  EXPECT_EQ(opened, before + 1);
}

TEST_F(FailingDisk, AnErrorOfReadingIsToldAndNothingIsChanged) {
  std::atomic<bool> failing = false;
  const FaultVfs vfs([&](const FileAccess& access) {
    return failing && access.call == FileCall::read && !access.path.ends_with("-journal")
               ? SQLITE_IOERR_READ
               : SQLITE_OK;
  });
  failing = true;
  CacheManager manager({.database = path_});

  EXPECT_THAT(test::error_of([&] { return manager.get_all_clusters(); }),
              AllOf(StartsWith("StorageFailure: "), HasSubstr(path_)));
  EXPECT_THAT(increment(manager), AllOf(StartsWith("StorageFailure: "), HasSubstr(path_)));
  failing = false;

  EXPECT_EQ(increment(manager), "");
  expect_sound(2);
}

TEST_F(FailingDisk, TooManyOpenFilesAreToldAsAFailureOfStorage) {
  const FaultVfs vfs([](const FileAccess& access) {
    return access.call == FileCall::open ? SQLITE_CANTOPEN : SQLITE_OK;
  });
  CacheManager manager({.database = path_});

  EXPECT_THAT(increment(manager), AllOf(StartsWith("StorageFailure: "), HasSubstr(path_)));
}

/// Mounts a file system of 256 KiB of its own on a directory, for this process alone. False where
/// this user may not.
bool mount_small_disk(const std::filesystem::path& directory) {
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=256k") == 0;
}

TEST_F(FailingDisk, ARealDiskThatRunsFullKeepsEverythingAcknowledged) {
  const test::TemporaryDirectory mounted;
  const std::string path = mounted.database();

  const std::string answer = test::in_child([&]() -> std::string {
    if (!mount_small_disk(mounted.path())) return "not mounted";
    CacheManager manager({.database = path});
    std::string error;
    std::size_t acknowledged = 0;
    while (error.empty() && acknowledged < 100000) {
      error = test::error_of([&] {
        manager.cache_new_cluster("c-" + std::to_string(acknowledged),
                                  {{"notes", std::string(1000, 'x')}});
        return 0;
      });
      if (error.empty()) ++acknowledged;
    }
    if (!error.starts_with("StorageFailure: ")) return error;
    if (manager.get_all_clusters().size() != acknowledged) return "a row was lost";
    if (!manager.verify().ok()) return "the log is broken";
    if (!manager.replay({.mode = ReplayMode::check}).differences.empty()) return "drift";
    return acknowledged > 0 ? "kept" : "nothing was ever written";
  });

  // An ordinary user may not mount: there the shim's tests above stand for it.
  EXPECT_THAT(answer, ::testing::AnyOf("kept", "not mounted"));
  if (test::is_root()) RecordProperty("disk", answer);
}

}  // namespace
}  // namespace dbcache
