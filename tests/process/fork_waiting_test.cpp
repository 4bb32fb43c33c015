// Forks of a process whose threads wait: for the turn, for one another, for the disk.

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "calls_apart.hpp"
#include "store/sqlite/turn.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/holder.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::Each;
using ::testing::StartsWith;

class ForkOfWaiting : public ::testing::Test {
 protected:
  static constexpr std::size_t threads = 6;

  ForkOfWaiting() { manager_.register_shared_cluster_creation("h", 1); }

  [[nodiscard]] std::string increment() {
    return test::error_of([&] { return manager_.increment_shared_cluster_usage("h"); });
  }
  void start_threads() {
    for (std::string& error : errors_) {
      running_.emplace_back([&] {
        ++started_;
        error = increment();
      });
    }
    while (started_ < threads) std::this_thread::yield();
  }
  void join_threads() {
    for (std::thread& thread : running_) thread.join();
  }
  [[nodiscard]] std::int64_t count() const {
    return CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager manager_{{.database = path_, .busy_timeout = std::chrono::minutes{5}}};
  std::atomic<std::size_t> started_ = 0;
  std::vector<std::string> errors_{threads, "did not run"};
  std::vector<std::thread> running_;
};

/// A process that has the turn to write, and does not write.
class TurnTaker {
 public:
  explicit TurnTaker(const std::string& path)
      : child_([=, this] {
          taken_.close_read();
          let_go_.close_write();
          store::sqlite::Turn turn(path);
          if (!turn.try_take()) return 1;
          taken_.signal();
          let_go_.wait();
          return 0;
        }) {
    taken_.close_write();
    let_go_.close_read();
    if (!taken_.wait()) throw std::runtime_error("the turn was not to be had");
  }
  /// What is forked later has a copy of what keeps the turn, and must close it.
  void let_go() { let_go_.close_write(); }

 private:
  test::Pipe taken_;
  test::Pipe let_go_;
  test::ChildProcess child_;
};

// Under a sanitizer threads that run while a process forks may leave the child locks that nobody
// opens (see CallsApart), and here they must run.

TEST_F(ForkOfWaiting, ForTheTurnParentAndChildGoOn) {
  if (test::sanitized) GTEST_SKIP();
  TurnTaker other(path_);
  start_threads();

  // The lead waits for the turn, the others for the lead.
  test::ChildProcess child([&] {
    other.let_go();
    for (int i = 0; i < 3; ++i) {
      if (increment() != "") return 1;
    }
    return 0;
  });
  other.let_go();
  join_threads();

  EXPECT_THAT(errors_, Each(""));
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(count(), 1 + static_cast<std::int64_t>(threads) + 3);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(ForkOfWaiting, ForTheTurnManyForksHoldNobodyUp) {
  if (test::sanitized) GTEST_SKIP();
  TurnTaker other(path_);
  start_threads();

  for (int i = 0; i < 20; ++i) {
    test::ChildProcess child([&] {
      other.let_go();
      return manager_.get_shared_cluster_info("h")->usage_count == 1 ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
  }
  other.let_go();
  join_threads();

  EXPECT_THAT(errors_, Each(""));
  EXPECT_EQ(count(), 1 + static_cast<std::int64_t>(threads));
}

TEST_F(ForkOfWaiting, ForALockOfSqlitesParentAndChildGoOn) {
  if (test::sanitized) GTEST_SKIP();
  test::Holder foreign(path_, "BEGIN IMMEDIATE");
  start_threads();

  test::ChildProcess child([&] {
    foreign.release();
    return increment() == "" ? 0 : 1;
  });
  foreign.release();
  join_threads();

  EXPECT_THAT(errors_, Each(""));
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(count(), 1 + static_cast<std::int64_t>(threads) + 1);
}

TEST_F(ForkOfWaiting, ForTheDiskTheForkWaitsTooAndParentAndChildGoOn) {
  if (test::sanitized) GTEST_SKIP();
  // The sync takes until a fork has been asked for, or nearly.
  std::atomic<bool> armed = false;
  std::atomic<bool> syncing = false;
  std::atomic<bool> forking = false;
  const test::FaultVfs vfs([&](const test::FileAccess& access) {
    if (access.on_wal() && access.call == test::FileCall::sync && armed.exchange(false)) {
      syncing = true;
      while (!forking) std::this_thread::yield();
    }
    return SQLITE_OK;
  });
  CacheManager manager({.database = path_, .busy_timeout = std::chrono::minutes{5}});
  manager.increment_shared_cluster_usage("h");
  armed = true;
  std::string error = "did not run";
  std::thread writer(
      [&] { error = test::error_of([&] { return manager.increment_shared_cluster_usage("h"); }); });
  while (!syncing) std::this_thread::yield();

  forking = true;
  test::ChildProcess child([&] {
    return test::error_of([&] { return manager.increment_shared_cluster_usage("h"); }) == "" ? 0
                                                                                             : 1;
  });
  writer.join();

  EXPECT_EQ(error, "");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(manager.increment_shared_cluster_usage("h"), 5);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(ForkOfWaiting, ManyDurableWritersLoseNothingInParentAndChildren) {
  if (test::sanitized) GTEST_SKIP();
  constexpr int forks = 20;
  constexpr int in_each_child = 3;
  std::atomic<bool> done = false;
  std::atomic<int> acknowledged = 0;
  std::atomic<int> failed = 0;
  for (std::size_t i = 0; i < threads; ++i) {
    running_.emplace_back([&] {
      ++started_;
      while (!done) ++(increment() == "" ? acknowledged : failed);
    });
  }
  while (started_ < threads) std::this_thread::yield();

  for (int i = 0; i < forks; ++i) {
    test::ChildProcess child([&] {
      for (int n = 0; n < in_each_child; ++n) {
        if (increment() != "") return 1;
      }
      return 0;
    });
    EXPECT_EQ(child.wait(), 0);
  }
  done = true;
  join_threads();

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(count(), 1 + acknowledged + forks * in_each_child);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

}  // namespace
}  // namespace dbcache
