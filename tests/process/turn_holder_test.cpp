// What becomes of the others when whoever has the turn to write, or the right to sync, is stopped
// or killed at that very moment.

#include <poll.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "standing_still.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/sqlite/turn.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using test::FileCall;
using test::StandingStill;
using ::testing::Each;
using ::testing::StartsWith;

constexpr std::chrono::milliseconds short_timeout{50};

class TurnHolder : public ::testing::Test {
 protected:
  TurnHolder() { CacheManager({.database = path_}).register_shared_cluster_creation("h", 1); }

  [[nodiscard]] std::string increment(std::chrono::milliseconds busy_timeout) const {
    return test::error_of([&] {
      CacheManager manager({.database = path_, .busy_timeout = busy_timeout});
      return manager.increment_shared_cluster_usage("h");
    });
  }
  [[nodiscard]] std::int64_t count() const {
    return CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count;
  }

  static constexpr std::chrono::minutes patient{5};

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(TurnHolder, StoppedWhileItWritesTheOthersAreBusyPastTheirTimeout) {
  StandingStill other(path_, FileCall::write);
  other.stop();

  EXPECT_THAT(increment(short_timeout), StartsWith("Busy: "));
  EXPECT_EQ(count(), 2) << "readers go on";

  other.go_on();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(increment(patient), "");
  EXPECT_EQ(count(), 4);
}

TEST_F(TurnHolder, StoppedWithTheTurnAloneTheOthersAreBusyPastTheirTimeout) {
  test::Pipe taken;
  test::Pipe let_go;
  test::ChildProcess other([&] {
    let_go.close_write();
    store::sqlite::Turn turn(path_);
    if (!turn.try_take()) return 1;
    taken.signal();
    let_go.wait();
    return 0;
  });
  ASSERT_TRUE(taken.wait());
  other.kill(SIGSTOP);

  EXPECT_THAT(increment(short_timeout), StartsWith("Busy: "));

  // All threads of a process are told, whoever of them leads.
  CacheManager manager({.database = path_, .busy_timeout = short_timeout});
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  for (std::string& error : errors) {
    threads.emplace_back([&] {
      error = test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(errors, Each(StartsWith("Busy: ")));

  other.kill(SIGCONT);
  let_go.close_write();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(manager.increment_shared_cluster_usage("h"), 2);
}

TEST_F(TurnHolder, StoppedWhileItSyncsTheOthersGoOn) {
  StandingStill other(path_, FileCall::sync);
  other.stop();

  for (int i = 0; i < 3; ++i) EXPECT_EQ(increment(patient), "");

  EXPECT_EQ(count(), 6);
  other.go_on();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(count(), 6);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(TurnHolder, KilledWhileItWritesTheOthersGoOnWithoutItsWrite) {
  StandingStill other(path_, FileCall::write);
  // Others wait for the turn already.
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  CacheManager manager({.database = path_, .busy_timeout = patient});
  for (std::string& error : errors) {
    threads.emplace_back([&] {
      error = test::error_of([&] { return manager.increment_shared_cluster_usage("h"); });
    });
  }

  EXPECT_EQ(other.kill(), -SIGKILL);
  for (std::thread& thread : threads) thread.join();

  EXPECT_THAT(errors, Each(""));
  EXPECT_EQ(count(), 6);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(TurnHolder, KilledWhileItSyncsItsWriteStandsAndTheOthersGoOn) {
  StandingStill other(path_, FileCall::sync);

  EXPECT_EQ(other.kill(), -SIGKILL);

  EXPECT_EQ(increment(patient), "");
  EXPECT_EQ(count(), 4);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(TurnHolder, StoppedWhileItMakesWhatTheyShareHoldsNobodyUpForEver) {
  test::write_bytes(path_ + "-sync", "");
  test::Pipe making;
  const test::ChildProcess other([&] {
    const int file = store::sqlite::open_side_file(path_, "-sync");
    if (!store::sqlite::set_ofd_lock(file, F_WRLCK, 0)) return 1;  // as its maker has it
    making.signal();
    for (;;) ::pause();
  });
  ASSERT_TRUE(making.wait());
  other.kill(SIGSTOP);
  test::Pipe answer;

  const test::ChildProcess writer([&] {
    const std::string error = increment(short_timeout);
    answer.put(error.empty() || error.starts_with("Busy: ") ? 'y' : 'n');
    return 0;
  });

  pollfd waiting{answer.read_end(), POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 60'000), 1) << "it waits without an end";
  char told = 0;
  ASSERT_TRUE(answer.get(told));
  EXPECT_EQ(told, 'y');
}

TEST_F(TurnHolder, StoppedWhileItWaitsForTheTurnHoldsNobodyUp) {
  // Who waits is given way to: once, and not for ever.
  test::Pipe waiting;
  test::Pipe taken;
  test::Pipe let_go;
  test::ChildProcess holder([&] {
    let_go.close_write();
    store::sqlite::Turn turn(path_);
    if (!turn.try_take()) return 1;
    taken.signal();
    let_go.wait();
    return 0;
  });
  ASSERT_TRUE(taken.wait());
  const test::ChildProcess waiter([&] {
    let_go.close_write();
    store::sqlite::Turn turn(path_);
    for (int i = 0; i < 3; ++i) {  // so often that the others give way to it
      if (turn.try_take()) return 1;
    }
    waiting.signal();
    for (;;) ::pause();
  });
  ASSERT_TRUE(waiting.wait());
  waiter.kill(SIGSTOP);
  let_go.close_write();
  ASSERT_EQ(holder.wait(), 0);

  CacheManager manager({.database = path_, .busy_timeout = patient});
  for (int i = 0; i < 10; ++i) manager.increment_shared_cluster_usage("h");

  EXPECT_EQ(count(), 11);
}

TEST_F(TurnHolder, ManyProcessesStoppedAndContinuedAtRandomLoseNothing) {
  constexpr int processes = 4;
  constexpr int increments = 200;
  std::vector<test::ChildProcess> children;
  for (int i = 0; i < processes; ++i) {
    children.emplace_back([&] {
      CacheManager manager({.database = path_, .busy_timeout = patient});
      for (int n = 0; n < increments; ++n) manager.increment_shared_cluster_usage("h");
      return 0;
    });
  }
  // As long as the last of them has something to do; the moments are the scheduler's.
  CacheManager manager({.database = path_, .busy_timeout = patient});
  for (int n = 0; n < 100; ++n) {
    const auto& victim = children[static_cast<std::size_t>(n % processes)];
    victim.kill(SIGSTOP);
    static_cast<void>(manager.get_shared_cluster_info("h"));
    std::this_thread::yield();
    victim.kill(SIGCONT);
  }

  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(count(), 1 + processes * increments);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

}  // namespace
}  // namespace dbcache
