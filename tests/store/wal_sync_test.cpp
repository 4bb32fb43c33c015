// The rules of syncing for one another, over a sync that only counts: the order of what happens is
// in the tests' hands.

#include "store/sqlite/wal_sync.hpp"

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/errors.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/shared_value.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store::sqlite {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class WalSyncTest : public ::testing::Test {
 protected:
  /// The words of the database, as another engine or process has them.
  [[nodiscard]] std::shared_ptr<SharedState> share() const {
    if (!std::filesystem::exists(path_)) test::write_bytes(path_, "the database");
    const auto status = test::status_of(path_);
    return SharedState::open(path_, {status.st_dev, status.st_ino});
  }
  [[nodiscard]] std::uint64_t synced() const { return state_->words().synced; }

  /// Waits for a commit with a sync that is counted.
  void wait(WalSync::Ticket ticket) {
    sync_.wait(ticket, [this] { ++syncs_; });
  }
  [[nodiscard]] std::string error_of_waiting(WalSync::Ticket ticket) {
    return test::error_of([&] {
      wait(ticket);
      return 0;
    });
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::shared_ptr<SharedState> state_ = share();
  WalSync sync_{*state_};
  std::atomic<int> syncs_ = 0;
};

// ---- What is covered

TEST_F(WalSyncTest, ACommitIsSyncedOnceAndNoMore) {
  const auto ticket = sync_.number_commit();

  wait(ticket);
  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(synced(), ticket);

  wait(ticket);
  EXPECT_EQ(syncs_, 1);
}

TEST_F(WalSyncTest, WhereNothingWasEverCommittedNothingIsSynced) {
  wait(sync_.last_commit());

  EXPECT_EQ(syncs_, 0);
}

TEST_F(WalSyncTest, WhoChangedNothingWaitsForTheCommitThatItSaw) {
  static_cast<void>(WalSync(*share()).number_commit());

  wait(sync_.last_commit());

  EXPECT_EQ(syncs_, 1);
}

TEST_F(WalSyncTest, OneSyncCoversAllThatWereNumberedBeforeItBegan) {
  const auto first = sync_.number_commit();
  const auto second = sync_.number_commit();
  const auto third = WalSync(*share()).number_commit();

  wait(first);
  wait(second);
  wait(third);

  EXPECT_EQ(syncs_, 1);
}

TEST_F(WalSyncTest, ASyncDoesNotCoverWhatIsNumberedWhileItRuns) {
  const auto before = sync_.number_commit();
  WalSync::Ticket meanwhile = 0;

  sync_.wait(before, [&] { meanwhile = sync_.number_commit(); });

  EXPECT_EQ(synced(), before);
  wait(meanwhile);
  EXPECT_EQ(syncs_, 1);
}

TEST_F(WalSyncTest, ASyncOfAnotherIsEnough) {
  const auto own = sync_.number_commit();
  const auto other = share();
  WalSync theirs(*other);
  theirs.wait(theirs.number_commit(), [] {});

  wait(own);

  EXPECT_EQ(syncs_, 0);
}

TEST_F(WalSyncTest, OfTwoSyncsAtOnceTheOneThatEndsLastTakesNothingBack) {
  const auto first = sync_.number_commit();
  WalSync::Ticket second = 0;

  sync_.wait(first, [&] {
    // Who has the right to sync takes long: the other does without it.
    second = sync_.number_commit();
    wait(second);
    EXPECT_EQ(synced(), second);
  });

  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(synced(), second);
}

/// What a disk has, and a sync of it: all that was numbered before it began.
struct Disk {
  std::atomic<std::uint64_t> durable;
  std::atomic<int> syncs;
  std::atomic<int> lies;  ///< Waits that returned too early.

  void sync(WalSync& numbers) {
    const std::uint64_t written = numbers.last_commit();
    std::this_thread::yield();
    ++syncs;
    std::uint64_t before = durable;
    while (before < written && !durable.compare_exchange_weak(before, written)) {
    }
  }
  void commit(WalSync& sync) {
    const auto ticket = sync.number_commit();
    sync.wait(ticket, [&] { this->sync(sync); });
    if (durable < ticket) ++lies;
  }
};

TEST_F(WalSyncTest, ManyThreadsAreEachOnDiskWhenTheyAreToldSo) {
  constexpr int threads = 8;
  constexpr int commits = 500;
  Disk disk{};
  std::vector<std::thread> running;

  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      WalSync own(*state_);
      for (int n = 0; n < commits; ++n) disk.commit(own);
    });
  }
  for (std::thread& thread : running) thread.join();

  EXPECT_EQ(disk.lies, 0);
  EXPECT_EQ(synced(), threads * commits);
  EXPECT_LE(disk.syncs, threads * commits);
}

TEST_F(WalSyncTest, ManyProcessesAreEachOnDiskWhenTheyAreToldSo) {
  constexpr int processes = 8;
  constexpr int commits = 500;
  const test::SharedValue<Disk> disk;
  std::vector<test::ChildProcess> children;

  for (int i = 0; i < processes; ++i) {
    children.emplace_back([&] {
      const auto state = share();
      WalSync own(*state);
      for (int n = 0; n < commits; ++n) disk->commit(own);
      return 0;
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(disk->lies, 0);
  EXPECT_EQ(synced(), processes * commits);
  EXPECT_LE(disk->syncs, processes * commits);
}

// ---- A sync that fails

struct FullMoon : std::runtime_error {
  using runtime_error::runtime_error;
};

void fail() { throw FullMoon("no sync at full moon"); }

TEST_F(WalSyncTest, WhoseSyncFailsIsToldWhyAndNothingCountsAsSynced) {
  const auto ticket = sync_.number_commit();

  EXPECT_THROW(sync_.wait(ticket, fail), FullMoon);

  EXPECT_EQ(synced(), 0U);
  EXPECT_NE(sync_.failures(), 0U);
}

TEST_F(WalSyncTest, AFailureIsSeenByEveryoneUntilItIsMended) {
  EXPECT_THROW(sync_.wait(sync_.number_commit(), fail), FullMoon);

  const auto other = share();
  EXPECT_NE(WalSync(*other).failures(), 0U);
  EXPECT_EQ(test::in_child(
                [&] { return std::string(WalSync(*share()).failures() != 0 ? "failed" : "well"); }),
            "failed");

  WalSync(*other).mended(WalSync(*other).failures());
  EXPECT_EQ(sync_.failures(), 0U);
}

TEST_F(WalSyncTest, AfterAFailureOthersAreToldThatTheirOutcomeIsUnknown) {
  const auto other = sync_.number_commit();
  EXPECT_THROW(sync_.wait(sync_.number_commit(), fail), FullMoon);

  EXPECT_THAT(error_of_waiting(other), StartsWith("StorageFailure (unknown): "));
  EXPECT_THAT(error_of_waiting(other), HasSubstr("check the disk"));
  EXPECT_EQ(syncs_, 0);
}

TEST_F(WalSyncTest, WhatWasSyncedBeforeAFailureStaysSo) {
  const auto before = sync_.number_commit();
  wait(before);
  EXPECT_THROW(sync_.wait(sync_.number_commit(), fail), FullMoon);

  EXPECT_EQ(error_of_waiting(before), "");
}

TEST_F(WalSyncTest, OnceMendedItIsSyncedAgain) {
  EXPECT_THROW(sync_.wait(sync_.number_commit(), fail), FullMoon);
  sync_.mended(sync_.failures());

  const auto ticket = sync_.number_commit();
  wait(ticket);

  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(synced(), ticket);
}

TEST_F(WalSyncTest, WhoWaitsWhileASyncFailsIsToldSo) {
  // However long the one that fails takes: who waits no longer meets a failing disk too.
  const auto first = sync_.number_commit();
  const auto second = sync_.number_commit();
  std::latch begun(1);
  std::latch waiting(1);
  std::thread failing([&] {
    EXPECT_THROW(sync_.wait(first,
                            [&] {
                              begun.count_down();
                              waiting.wait();
                              fail();
                            }),
                 FullMoon);
  });

  begun.wait();
  waiting.count_down();
  const std::string error = test::error_of([&] {
    WalSync(*share()).wait(second, fail);
    return 0;
  });
  failing.join();

  EXPECT_THAT(error, ::testing::AnyOf(StartsWith("StorageFailure (unknown): "),
                                      "std::exception: no sync at full moon"));
  EXPECT_EQ(synced(), 0U);
}

TEST_F(WalSyncTest, ASyncDuringWhichAnothersFailedCoversNothing) {
  // Its descriptor may be younger than the error, which the kernel tells each descriptor once, and
  // one that was opened after somebody was told, never.
  const auto ticket = sync_.number_commit();

  EXPECT_THAT(test::error_of([&] {
                sync_.wait(ticket, [&] { WalSync(*share()).failed(); });
                return 0;
              }),
              StartsWith("StorageFailure (unknown): "));

  EXPECT_EQ(synced(), 0U);
}

TEST_F(WalSyncTest, AFailedSyncLeavesTheRightToSyncToOthers) {
  EXPECT_THROW(sync_.wait(sync_.number_commit(), fail), FullMoon);

  const auto other = share();
  EXPECT_TRUE(other->try_lock_sync());
}

// ---- Whoever has the right to sync is gone, or stands still

/// A process that has begun a sync of its own commit, and does not end it until it is let go.
class Syncing {
 public:
  explicit Syncing(const std::function<std::shared_ptr<SharedState>()>& share)
      : child_([&] {
          begun_.close_read();
          let_go_.close_write();
          const auto state = share();
          WalSync sync(*state);
          sync.wait(sync.number_commit(), [&] {
            begun_.signal();
            let_go_.wait();
          });
          return 0;
        }) {
    begun_.close_write();
    let_go_.close_read();
    if (!begun_.wait()) throw std::runtime_error("the other process did not sync");
  }

  [[nodiscard]] const test::ChildProcess& process() const { return child_; }
  int let_go_and_wait() {
    let_go_.close_write();
    return child_.wait();
  }
  int wait() { return child_.wait(); }

 private:
  test::Pipe begun_;
  test::Pipe let_go_;
  test::ChildProcess child_;
};

TEST_F(WalSyncTest, WhenWhoSyncsIsKilledTheNextSyncsForBoth) {
  Syncing other([&] { return share(); });
  EXPECT_FALSE(state_->try_lock_sync());

  other.process().kill(SIGKILL);
  ASSERT_EQ(other.wait(), -SIGKILL);
  const auto ticket = sync_.number_commit();
  wait(ticket);

  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(synced(), ticket);
  EXPECT_EQ(ticket, 2U);
}

TEST_F(WalSyncTest, WhileWhoSyncsIsStoppedTheOthersSyncForThemselves) {
  Syncing other([&] { return share(); });
  other.process().kill(SIGSTOP);

  for (int i = 0; i < 3; ++i) wait(sync_.number_commit());

  EXPECT_EQ(syncs_, 3);
  EXPECT_EQ(synced(), 4U);
  other.process().kill(SIGCONT);
  EXPECT_EQ(other.let_go_and_wait(), 0);
  EXPECT_EQ(synced(), 4U) << "the sync that began first, and ended last, took something back";
}

TEST_F(WalSyncTest, ThreadsGoOnBesideAStoppedProcess) {
  Syncing other([&] { return share(); });
  other.process().kill(SIGSTOP);
  constexpr int threads = 4;
  std::vector<std::string> errors(threads);
  std::vector<std::thread> running;

  for (std::string& error : errors) {
    running.emplace_back([&] { error = error_of_waiting(sync_.number_commit()); });
  }
  for (std::thread& thread : running) thread.join();

  EXPECT_THAT(errors, Each(""));
  EXPECT_EQ(synced(), 1U + threads);
}

}  // namespace
}  // namespace dbcache::store::sqlite
