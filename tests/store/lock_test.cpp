#include <cerrno>
#include <fcntl.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/holder.hpp"
#include "support/python_database.hpp"
#include "support/raw_database.hpp"
#include "support/refused_call.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using test::Holder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::chrono::milliseconds short_timeout{50};

class Locked : public ::testing::Test {
 protected:
  Locked() { CacheManager({.database = path_}).register_shared_cluster_creation("h", 1); }

  [[nodiscard]] std::string busy_write() const {
    return test::error_of([&] {
      CacheManager manager({.database = path_, .busy_timeout = short_timeout});
      return manager.increment_shared_cluster_usage("h");
    });
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(Locked, PastTheTimeoutAWriteIsBusyAndNothingIsWritten) {
  Holder holder(path_, "BEGIN IMMEDIATE");

  EXPECT_THAT(busy_write(), AllOf(StartsWith("Busy: "), HasSubstr(path_), HasSubstr("0.05")));

  holder.release_and_wait();
  EXPECT_EQ(CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count, 1);
}

TEST_F(Locked, AWriteWorksAgainOnceTheLockIsGone) {
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  {
    Holder holder(path_, "BEGIN IMMEDIATE");
    EXPECT_THROW(manager.increment_shared_cluster_usage("h"), Busy);
    holder.release_and_wait();
  }

  EXPECT_EQ(manager.increment_shared_cluster_usage("h"), 2);
}

TEST_F(Locked, ALockReleasedInTimeIsWaitedFor) {
  Holder holder(path_, "BEGIN IMMEDIATE");
  CacheManager manager({.database = path_, .busy_timeout = std::chrono::minutes{5}});
  std::int64_t count = 0;

  std::thread writer([&] { count = manager.increment_shared_cluster_usage("h"); });
  holder.release();
  writer.join();

  EXPECT_EQ(count, 2);
}

TEST_F(Locked, AWriteOfAnotherDoesNotKeepReadersWaiting) {
  const Holder holder(path_, "BEGIN IMMEDIATE; UPDATE shared_cluster_registry SET usage_count = 9");
  const CacheManager manager({.database = path_, .busy_timeout = short_timeout});

  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 1);
}

TEST_F(Locked, ATimeoutOfNoneTriesOnce) {
  const Holder holder(path_, "BEGIN IMMEDIATE");
  CacheManager manager({.database = path_, .busy_timeout = std::chrono::milliseconds{0}});

  EXPECT_THROW(manager.increment_shared_cluster_usage("h"), Busy);
}

TEST_F(Locked, ATimeoutWithoutEndIsTakenAsOne) {
  CacheManager manager({.database = path_, .busy_timeout = std::chrono::milliseconds::max()});

  EXPECT_EQ(manager.increment_shared_cluster_usage("h"), 2);
  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 2);
}

TEST_F(Locked, ADatabaseHeldExclusivelyIsBusyForReadersToo) {
  const std::string path = (directory_.path() / "python.db").string();
  test::make_python_database(path, "delete");
  const Holder holder(path, "BEGIN EXCLUSIVE");
  CacheManager manager({.database = path, .busy_timeout = short_timeout});

  EXPECT_THROW(static_cast<void>(manager.get_all_clusters()), Busy);
  EXPECT_THROW(manager.clear_cluster_cache(), Busy);
}

TEST_F(Locked, ADatabaseHeldExclusivelyWhileItIsAdoptedIsWaitedFor) {
  const std::string path = (directory_.path() / "python.db").string();
  test::make_python_database(path, "delete");
  Holder holder(path, "BEGIN EXCLUSIVE");
  CacheManager manager({.database = path, .busy_timeout = std::chrono::minutes{5}});
  std::size_t rows = 0;

  std::thread reader([&] { rows = manager.get_all_clusters().size(); });
  holder.release();
  reader.join();

  EXPECT_EQ(rows, 2U);
}

TEST_F(Locked, OptimizingBesideALongReaderIsBusy) {
  const Holder holder(path_, "BEGIN; SELECT count(*) FROM events");
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  manager.increment_shared_cluster_usage("h");

  EXPECT_THROW(manager.optimize_database(), Busy);

  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 2);
}

TEST_F(Locked, AThreadBehindOthersOfItsProcessIsBusyPastTheTimeout) {
  Holder holder(path_, "BEGIN IMMEDIATE");
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;

  for (std::string& error : errors) {
    threads.emplace_back([&manager, &error] {
      error = test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_THAT(errors, ::testing::Each(StartsWith("Busy: ")));
}

TEST_F(Locked, WhereTheFileOfTurnsCannotBeLockedAWriteWorksAllTheSame) {
  EXPECT_EQ(test::in_child([&] {
              test::refuse_fcntl(F_OFD_SETLK, ENOLCK);
              return busy_write();
            }),
            "");

  EXPECT_EQ(CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count, 2);
}

}  // namespace
}  // namespace dbcache
