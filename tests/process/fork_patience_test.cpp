#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <pthread.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "store/store.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store {
namespace {

using ::testing::StartsWith;

/// A flag that one thread waits for and another raises.
class Flag {
 public:
  void raise() {
    raised_ = true;
    raised_.notify_all();
  }
  void wait() const { raised_.wait(false); }

 private:
  std::atomic<bool> raised_ = false;
};

/// A fork that meets a transaction which is still running.
class ForkPatience : public ::testing::Test {
 protected:
  ForkPatience() { manager_->register_shared_cluster_creation("h", 1); }
  ~ForkPatience() override { system::ForkGate::instance().set_patience(std::chrono::seconds{5}); }

  /// Runs a transaction of another thread's that goes on until `finish_`.
  std::thread begin_transaction() {
    std::thread thread([&] {
      Store store(database_.options());
      store.transact([&](const rows::Present&) {
        begun_.raise();
        finish_.wait();
        return events::Events{events::UsageIncremented{"h", 2}};
      });
    });
    begun_.wait();
    return thread;
  }

  std::string increment() {
    return test::error_of([&] { return manager_->increment_shared_cluster_usage("h"); });
  }

  /// Those of the database, whose closing would let go of its locks.
  [[nodiscard]] std::size_t open_descriptors() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code error;
      const auto target = std::filesystem::read_symlink(entry.path(), error).string();
      if (target.starts_with(database_.location()) && !target.ends_with("-turn")) ++count;
    }
    return count;
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  std::unique_ptr<CacheManager> manager_ = std::make_unique<CacheManager>(database_.options());
  std::thread::id main_ = std::this_thread::get_id();
  Flag begun_;
  Flag finish_;
};

TEST_F(ForkPatience, PastItTheChildsCallsThrowAndTouchNothing) {
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{1});
  std::thread transaction = begin_transaction();

  const std::string errors = test::in_child([&] {
    const std::size_t before = open_descriptors();
    std::string all;
    all += increment() + "\n";
    all += test::error_of([&] { return manager_->get_all_clusters(); }) + "\n";
    all += test::error_of([&] { return manager_->replay(); }) + "\n";
    all += test::error_of([&] {
             manager_->optimize_database();
             return 0;
           }) +
           "\n";
    CacheManager another({.database = database_.location() + "-another"});
    all += test::error_of([&] {
             another.cache_new_cluster("c");
             return 0;
           }) +
           "\n";
    all += open_descriptors() == before ? "untouched" : "touched";
    return all;
  });
  finish_.raise();
  transaction.join();

  EXPECT_THAT(errors, ::testing::MatchesRegex("(StorageFailure: this process was forked while "
                                              "another thread [^\n]*\n){5}untouched"));
  EXPECT_FALSE(std::filesystem::exists(database_.location() + "-another"));
  EXPECT_EQ(increment(), "");
  EXPECT_EQ(manager_->get_shared_cluster_info("h")->usage_count, 3);
  EXPECT_EQ(test::unsoundness_of(database_.options()), "");
}

TEST_F(ForkPatience, PastItAManagerDestroyedInTheChildClosesNothing) {
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{1});
  std::thread transaction = begin_transaction();

  const std::string answer = test::in_child([&] {
    const std::size_t before = open_descriptors();
    manager_.reset();
    return std::string(before > 0 && open_descriptors() == before ? "untouched" : "touched");
  });
  finish_.raise();
  transaction.join();

  EXPECT_EQ(answer, "untouched");
  EXPECT_EQ(increment(), "");
}

TEST_F(ForkPatience, PastItAGrandchildMayNotTouchTheDatabaseEither) {
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{1});
  std::thread transaction = begin_transaction();

  const std::string answer = test::in_child([&] {
    const std::size_t before = open_descriptors();
    const std::string error = test::in_child([&] { return increment(); });
    return error + (open_descriptors() == before ? " untouched" : " touched");
  });
  finish_.raise();
  transaction.join();

  EXPECT_THAT(answer, StartsWith("StorageFailure: this process was forked"));
  EXPECT_THAT(answer, ::testing::EndsWith(" untouched"));
}

TEST_F(ForkPatience, PastItTheNextForkOfTheParentIsLikeAnyOther) {
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{1});
  std::thread transaction = begin_transaction();
  EXPECT_NE(test::in_child([&] { return increment(); }), "");
  finish_.raise();
  transaction.join();
  system::ForkGate::instance().set_patience(std::chrono::seconds{5});

  EXPECT_EQ(test::in_child([&] { return increment(); }), "");

  EXPECT_EQ(manager_->get_shared_cluster_info("h")->usage_count, 3);
}

TEST_F(ForkPatience, AManagerThatIsBeingClosedIsInUse) {
  Flag closing;
  Flag finish;
  auto closed = std::make_unique<CacheManager>(database_.options());
  std::optional<test::FaultVfs> vfs(std::in_place, [&](const test::FileAccess& access) {
    if (access.call == test::FileCall::close && !access.on_wal() &&
        std::this_thread::get_id() != main_) {
      closing.raise();
      finish.wait();
    }
    return SQLITE_OK;
  });
  closed->increment_shared_cluster_usage("h");
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{1});
  std::thread closer([&] { closed.reset(); });
  closing.wait();

  const std::string error = test::in_child([&] { return increment(); });
  finish.raise();
  closer.join();

  EXPECT_THAT(error, StartsWith("StorageFailure: this process was forked"));
}

/// What the fork that is under way runs before the library's own preparations.
std::function<void()> before_fork;

TEST_F(ForkPatience, AForkWaitsForATransactionThatEndsInTime) {
  // Handlers of pthread_atfork prepare in the reverse order: this one comes before the library's.
  ASSERT_EQ(::pthread_atfork(
                [] {
                  if (before_fork) before_fork();
                },
                nullptr, nullptr),
            0);
  std::thread transaction = begin_transaction();
  before_fork = [&] { finish_.raise(); };

  const std::string error = test::in_child([&] {
    before_fork = nullptr;
    return increment();
  });
  before_fork = nullptr;
  transaction.join();

  EXPECT_EQ(error, "");
  EXPECT_EQ(manager_->get_shared_cluster_info("h")->usage_count, 3);
}

}  // namespace
}  // namespace dbcache::store
