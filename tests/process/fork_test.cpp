#include <barrier>
#include <filesystem>
#include <latch>
#include <memory>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "calls_apart.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

using ::testing::IsEmpty;

class Fork : public ::testing::Test {
 protected:
  Fork() { manager().register_shared_cluster_creation("h", 1); }

  CacheManager& manager() { return *manager_; }
  [[nodiscard]] Options options() const {
    return database_.options({.durability = Durability::relaxed});
  }
  [[nodiscard]] std::int64_t count() const {
    return CacheManager(options()).get_shared_cluster_info("h")->usage_count;
  }
  /// Increments in a child of a fork that happens now, with the manager made before it.
  void increment_in_child(int times) {
    auto child = apart_.fork([&] {
      return test::ChildProcess([&] {
        for (int i = 0; i < times; ++i) manager().increment_shared_cluster_usage("h");
        return 0;
      });
    });
    EXPECT_EQ(child.wait(), 0);
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  test::CallsApart apart_;
  std::unique_ptr<CacheManager> manager_ = std::make_unique<CacheManager>(options());
};

TEST_F(Fork, AChildInheritsNoOpenFileOfTheDatabase) {
  static_cast<void>(manager().get_all_clusters());
  ASSERT_FALSE(test::descriptors_below(database_.directory()).empty());

  const std::string open = test::in_child([&] {
    std::string names;
    for (const std::string& name : test::descriptors_below(database_.directory()))
      names += name + " ";
    return names;
  });

  EXPECT_EQ(open, "");
}

TEST_F(Fork, WhatAParentWasToldIsNotKeptOverAChildThatClosesTheDatabaseLast) {
  // With the WAL gone, the next one begins as the one before did.
  const auto told = [&] {
    const auto count = manager_->get_shared_cluster_info("h")->usage_count;
    return manager_->get_shared_cluster_info("h")->usage_count == count ? count : -1;
  };
  const auto before = told();
  ASSERT_EQ(told(), before);

  const std::string path = database_.location();
  ASSERT_EQ(test::in_child([&] {
              CacheManager({.database = path}).increment_shared_cluster_usage("h");
              return "";
            }),
            "");

  EXPECT_EQ(told(), before + 1);
  EXPECT_EQ(told(), before + 1);
}

TEST_F(Fork, ParentAndChildGoOnWithTheSameManager) {
  increment_in_child(3);

  EXPECT_EQ(manager().increment_shared_cluster_usage("h"), 5);
}

TEST_F(Fork, AGrandchildGoesOnWithTheSameManager) {
  test::ChildProcess child([&] {
    manager().increment_shared_cluster_usage("h");
    test::ChildProcess grandchild([&] {
      manager().increment_shared_cluster_usage("h");
      return 0;
    });
    manager().increment_shared_cluster_usage("h");
    return grandchild.wait();
  });

  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(count(), 4);
}

TEST_F(Fork, TheChildsCommitsStandAfterTheParentClosedFirst) {
  test::Pipe closed;
  test::Pipe acknowledged;
  test::ChildProcess child([&] {
    closed.close_write();
    for (int i = 0; i < 100; ++i) {
      manager().increment_shared_cluster_usage("h");
      if (i == 50) {
        acknowledged.signal();
        closed.wait();
      }
    }
    return 0;
  });
  ASSERT_TRUE(acknowledged.wait());

  manager_.reset();
  closed.close_write();

  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(count(), 101);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(Fork, AManagerDestroyedInTheChildHarmsNothing) {
  test::ChildProcess child([&] {
    manager_.reset();
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(manager().increment_shared_cluster_usage("h"), 2);
  EXPECT_EQ(count(), 2);
}

TEST_F(Fork, AManagerDestroyedInTheChildAfterItsUseHarmsNothing) {
  test::Pipe destroyed;
  test::ChildProcess child([&] {
    manager().increment_shared_cluster_usage("h");
    manager_.reset();
    destroyed.signal();
    return 0;
  });
  ASSERT_TRUE(destroyed.wait());

  EXPECT_EQ(manager().increment_shared_cluster_usage("h"), 3);

  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(Fork, EveryAcknowledgedCommitStandsWhileOtherThreadsUseTheManager) {
  constexpr int threads = 3;
  constexpr int forks = 40;
  constexpr int in_each_child = 5;
  std::atomic<bool> done = false;
  std::atomic<int> acknowledged = 0;
  std::latch started(threads + 1);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      started.arrive_and_wait();
      while (!done) {
        if (i == 0) {
          apart_.call([&] { static_cast<void>(manager().get_all_shared_clusters()); });
        } else {
          apart_.call([&] { manager().increment_shared_cluster_usage("h"); });
          ++acknowledged;
        }
      }
    });
  }

  started.arrive_and_wait();
  for (int i = 0; i < forks; ++i) increment_in_child(in_each_child);
  done = true;
  for (std::thread& thread : running) thread.join();

  EXPECT_EQ(count(), 1 + acknowledged + forks * in_each_child);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(Fork, ChildrenThatLiveOnBesideTheirParentLoseNothing) {
  constexpr int forks = 8;
  constexpr int in_each = 100;
  std::vector<test::ChildProcess> children;
  for (int i = 0; i < forks; ++i) {
    manager().increment_shared_cluster_usage("h");
    children.emplace_back([&] {
      for (int n = 0; n < in_each; ++n) manager().increment_shared_cluster_usage("h");
      return 0;
    });
  }
  for (int n = 0; n < in_each; ++n) manager().increment_shared_cluster_usage("h");

  for (auto& child : children) EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(count(), 1 + forks + in_each + forks * in_each);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(Fork, TwoThreadsMayForkAtOnce) {
  constexpr int forks = 20;
  std::barrier together(2);  // no thread begins or ends beside a fork: see CallsApart
  std::vector<std::thread> forking;

  for (int i = 0; i < 2; ++i) {
    forking.emplace_back([&] {
      together.arrive_and_wait();
      for (int n = 0; n < forks; ++n) {
        increment_in_child(2);
        apart_.call([&] { manager().increment_shared_cluster_usage("h"); });
      }
      together.arrive_and_wait();
    });
  }
  for (std::thread& thread : forking) thread.join();

  EXPECT_EQ(count(), 1 + 2 * forks * 3);
}

TEST_F(Fork, ManagersMayComeAndGoInOtherThreads) {
  std::atomic<bool> done = false;
  std::atomic<int> acknowledged = 0;
  std::latch started(2);
  std::thread other([&] {
    started.arrive_and_wait();
    while (!done) {
      apart_.call([&] {
        CacheManager own(options());
        own.increment_shared_cluster_usage("h");
      });
      ++acknowledged;
    }
  });
  constexpr int forks = 40;

  started.arrive_and_wait();
  for (int i = 0; i < forks; ++i) increment_in_child(1);
  done = true;
  other.join();

  EXPECT_EQ(count(), 1 + acknowledged + forks);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(Fork, TheChildRecordsItsOwnPid) {
  pid_t pid = 0;
  test::ChildProcess child([&] {
    manager().increment_shared_cluster_usage("h");
    return 0;
  });
  pid = child.pid();
  ASSERT_EQ(child.wait(), 0);

  const auto history = manager().history({.subject = "h"});

  EXPECT_NE(history.back().metadata.find("\"pid\":" + std::to_string(pid) + ","), std::string::npos)
      << history.back().metadata;
}

}  // namespace
}  // namespace dbcache
