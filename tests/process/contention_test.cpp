#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "support/child_process.hpp"
#include "support/process_barrier.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

class Contention : public ::testing::Test {
 protected:
  /// Losing an update has nothing to do with the disk, so most of it is spared.
  [[nodiscard]] Options options() const {
    return database_.options({.durability = Durability::relaxed});
  }
  void register_hash() const { CacheManager(options()).register_shared_cluster_creation("h", 1); }

  static void use(CacheManager& manager, int increments, int decrements) {
    for (int i = 0; i < increments; ++i) {
      manager.increment_shared_cluster_usage("h");
      if (i < decrements) manager.decrement_shared_cluster_usage("h");
    }
  }

  void expect_exactly(std::int64_t count, std::int64_t changes) const {
    EXPECT_EQ(test::unsoundness_of(database_.options()), "");
    CacheManager manager(options());
    EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, count);
    std::int64_t version = 0;
    for (const RecordedEvent& event : manager.history({.subject = "h"})) {
      ASSERT_EQ(event.version, ++version);
    }
    EXPECT_EQ(version, 1 + changes);
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
};

TEST_F(Contention, SixteenProcessesLoseNoUpdate) {
  constexpr int processes = 16;
  const int increments = test::over_postgres() ? test::rounds(40, 100) : test::rounds(150, 500);
  const int decrements = increments - increments / 5;
  register_hash();
  const test::ProcessBarrier start(processes);
  std::vector<test::ChildProcess> children;
  for (int child = 0; child < processes; ++child) {
    children.emplace_back([&] {
      CacheManager manager(options());
      start.wait();
      use(manager, increments, decrements);
      return 0;
    });
  }

  std::vector<int> statuses;
  for (auto& child : children) statuses.push_back(child.wait());

  EXPECT_THAT(statuses, Each(0));
  expect_exactly(1 + processes * (increments - decrements), processes * (increments + decrements));
}

TEST_F(Contention, EachProcessIsToldACountThatNoOtherWas) {
  constexpr int processes = 8;
  constexpr int increments = 100;
  register_hash();
  test::Pipe counts;
  std::vector<test::ChildProcess> children;
  for (int child = 0; child < processes; ++child) {
    children.emplace_back([&] {
      CacheManager manager(options());
      for (int i = 0; i < increments; ++i) counts.put(manager.increment_shared_cluster_usage("h"));
      return 0;
    });
  }
  counts.close_write();

  std::map<std::int64_t, int> told;
  for (std::int64_t count = 0; counts.get(count);) ++told[count];

  EXPECT_THAT(told, SizeIs(processes * increments));
  EXPECT_EQ(told.begin()->first, 2);
  EXPECT_EQ(told.rbegin()->first, 1 + processes * increments);
}

TEST_F(Contention, EightThreadsOverOneManagerLoseNoUpdate) {
  constexpr int threads = 8;
  constexpr int increments = 200;
  register_hash();
  CacheManager manager(options());
  std::vector<std::thread> running;

  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] { use(manager, increments, increments / 2); });
  }
  for (std::thread& thread : running) thread.join();

  expect_exactly(1 + threads * (increments - increments / 2),
                 threads * (increments + increments / 2));
}

TEST_F(Contention, EightThreadsOverManagersOfTheirOwnLoseNoUpdate) {
  constexpr int threads = 8;
  constexpr int increments = 100;
  register_hash();
  std::vector<std::thread> running;

  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      CacheManager manager(options());
      use(manager, increments, increments / 2);
    });
  }
  for (std::thread& thread : running) thread.join();

  expect_exactly(1 + threads * (increments - increments / 2),
                 threads * (increments + increments / 2));
}

TEST_F(Contention, ThreadsThatReadSeeOnlyWholeCommands) {
  // Each caching deactivates the cluster before, in one command: one is active, at any time.
  CacheManager manager(options());
  manager.cache_new_cluster("first");
  constexpr int readers = 3;
  std::vector<int> wrong(readers);
  std::atomic<bool> done = false;
  std::vector<std::thread> running;
  for (int& count : wrong) {
    running.emplace_back([&] {
      while (!done) {
        if (manager.get_all_clusters({.is_active = true}).size() != 1) ++count;
      }
    });
  }

  for (int i = 0; i < 200; ++i) manager.cache_new_cluster(std::to_string(i));
  done = true;
  for (std::thread& thread : running) thread.join();

  EXPECT_THAT(wrong, Each(0));
}

TEST_F(Contention, AReplayBesideWritesThatAreUndoneTakesNoneOfThemForCommitted) {
  register_hash();
  CacheManager manager(options());
  constexpr int increments = 300;
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> running;
  // Where one fails, the transaction that it shares with others is undone and made again.
  running.emplace_back([&] {
    while (!done) {
      try {
        manager.update_shared_cluster_status("unknown", RegistryStatus::failed);
        ++wrong;
      } catch (const NotFound&) {
      }
    }
  });
  running.emplace_back([&] {
    while (!done) {
      manager.replay();
      if (!manager.replay({.mode = ReplayMode::check}).differences.empty()) ++wrong;
    }
  });

  std::vector<std::thread> writing;
  for (int i = 0; i < 3; ++i) writing.emplace_back([&] { use(manager, increments, 0); });
  for (std::thread& thread : writing) thread.join();
  done = true;
  for (std::thread& thread : running) thread.join();

  EXPECT_EQ(wrong, 0);
  expect_exactly(1 + 3 * increments, 3 * increments);
}

TEST_F(Contention, OfSixteenProcessesExactlyOneLearnsThatItCreated) {
  constexpr int processes = 16;
  constexpr int all_rounds = 50;
  struct Created {
    int round;
    pid_t pid;
  };
  test::Pipe created;
  const test::ProcessBarrier together(processes);
  std::vector<test::ChildProcess> children;
  for (int child = 0; child < processes; ++child) {
    children.emplace_back([&] {
      CacheManager manager(options());
      for (int round = 0; round < all_rounds; ++round) {
        together.wait();
        const Registration registration =
            manager.register_or_join_shared_cluster("h-" + std::to_string(round), ::getpid());
        if (registration.created) created.put(Created{round, ::getpid()});
        if (!registration.joinable) return 1;
      }
      return 0;
    });
  }
  created.close_write();

  std::map<int, std::vector<pid_t>> creators;
  for (Created one{}; created.get(one);) creators[one.round].push_back(one.pid);
  std::vector<int> statuses;
  for (auto& child : children) statuses.push_back(child.wait());

  EXPECT_THAT(statuses, Each(0));
  const CacheManager manager(options());
  ASSERT_THAT(creators, SizeIs(all_rounds));
  for (const auto& [round, pids] : creators) {
    ASSERT_THAT(pids, SizeIs(1)) << "in round " << round;
    EXPECT_EQ(manager.get_shared_cluster_info("h-" + std::to_string(round))->worker_pid,
              pids.front());
  }
}

}  // namespace
}  // namespace dbcache
