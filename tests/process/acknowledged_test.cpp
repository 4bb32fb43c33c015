// What a call that has returned, and a signal, say about the disk.

#include <atomic>
#include <filesystem>
#include <poll.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "standing_still.hpp"
#include "store/sqlite/sqlite_engine.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using test::FileAccess;
using test::FileCall;

class AcknowledgedTest : public ::testing::Test {
 protected:
  AcknowledgedTest() { CacheManager({.database = path_}).register_shared_cluster_creation("h", 1); }

  /// How many syncs of the WAL this process makes for a call that changes nothing.
  int syncs_of_no_change(Durability durability = Durability::full) {
    std::atomic<int> syncs = 0;
    const test::FaultVfs vfs([&](const FileAccess& access) {
      if (access.on_wal() && access.call == FileCall::sync) ++syncs;
      return SQLITE_OK;
    });
    CacheManager manager({.database = path_, .durability = durability});
    EXPECT_EQ(manager.increment_shared_cluster_usage("unknown"), 0);
    return syncs;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager open_{{.database = path_}};  // what keeps the WAL from being moved at each end
};

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsNothingWhereAllIsOnDisk) {
  open_.increment_shared_cluster_usage("h");

  EXPECT_EQ(syncs_of_no_change(), 0);
}

TEST_F(AcknowledgedTest, WhoChangesNothingWaitsForWhatAnotherHasOnlyCommitted) {
  test::StandingStill other(path_, FileCall::sync);

  EXPECT_EQ(syncs_of_no_change(), 1);

  other.go_on();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(syncs_of_no_change(), 0);
}

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsWhatAKilledProcessHasCommitted) {
  test::StandingStill other(path_, FileCall::sync);
  EXPECT_EQ(other.kill(), -SIGKILL);

  EXPECT_EQ(syncs_of_no_change(), 1);
}

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsWhatAProcessKilledInItsCommitHasLeft) {
  // Others see the commit already, but nobody has numbered it.
  test::StandingStill other(path_, FileCall::committed);
  EXPECT_EQ(other.kill(), -SIGKILL);

  EXPECT_EQ(syncs_of_no_change(), 1);
  EXPECT_EQ(CacheManager({.database = path_}).get_shared_cluster_info("h")->usage_count, 3);
}

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsWhatWasCommittedWithoutASync) {
  CacheManager relaxed({.database = path_, .durability = Durability::relaxed});
  relaxed.increment_shared_cluster_usage("h");

  EXPECT_EQ(syncs_of_no_change(), 1);
  EXPECT_EQ(syncs_of_no_change(), 0);
}

TEST_F(AcknowledgedTest, ACallThatChangesNothingSyncsForItselfWhereNothingCanBeShared) {
  // The processes cannot tell each other which commits are on disk.
  std::filesystem::remove(path_ + "-sync");
  std::filesystem::create_directory(path_ + "-sync");
  test::StandingStill other(path_, FileCall::sync);

  EXPECT_EQ(syncs_of_no_change(), 1);

  EXPECT_EQ(other.kill(), -SIGKILL);
}

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsWhatAProcessThatSharesNothingHasCommitted) {
  // As where the disk was full at that process's first write.
  std::filesystem::rename(path_ + "-sync", path_ + "-kept");
  std::filesystem::create_directory(path_ + "-sync");
  test::StandingStill other(path_, FileCall::sync);
  std::filesystem::remove(path_ + "-sync");
  std::filesystem::rename(path_ + "-kept", path_ + "-sync");

  EXPECT_EQ(syncs_of_no_change(), 1);
  EXPECT_EQ(syncs_of_no_change(), 0);

  EXPECT_EQ(other.kill(), -SIGKILL);
}

TEST_F(AcknowledgedTest, WhoChangesNothingSyncsWhatWasCommittedBeforeTheSharedFileWasDeleted) {
  test::StandingStill other(path_, FileCall::sync);
  std::filesystem::remove(path_ + "-sync");

  EXPECT_EQ(syncs_of_no_change(), 1);
  EXPECT_EQ(syncs_of_no_change(), 0);

  EXPECT_EQ(other.kill(), -SIGKILL);
}

TEST_F(AcknowledgedTest, WhoNeedsNoDurabilityWaitsForNobody) {
  test::StandingStill other(path_, FileCall::sync);

  EXPECT_EQ(syncs_of_no_change(Durability::relaxed), 0);

  other.go_on();
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(AcknowledgedTest, ACallThatFailsAfterOthersWritesIsNoEarlierThanTheirSync) {
  // An error tells of what others have written, too.
  test::StandingStill other(path_, FileCall::sync);
  std::atomic<int> syncs = 0;
  const test::FaultVfs vfs([&](const FileAccess& access) {
    if (access.on_wal() && access.call == FileCall::sync) ++syncs;
    return SQLITE_OK;
  });

  EXPECT_NE(test::error_of([&] {
              CacheManager({.database = path_})
                  .update_shared_cluster_status("unknown", RegistryStatus::failed);
              return 0;
            }),
            "");

  EXPECT_EQ(syncs, 1);
  EXPECT_EQ(other.kill(), -SIGKILL);
}

// ---- Signals

/// Watches, while a call runs, whether those who wait for commits were woken before the disk had
/// it.
class SignalTest : public AcknowledgedTest {
 protected:
  static bool is_awake(const store::Wakeup& wakeup, int timeout = 0) {
    pollfd waiting{wakeup.descriptor(), POLLIN, 0};
    return ::poll(&waiting, 1, timeout) == 1;
  }

  std::unique_ptr<store::Engine> engine_ = store::open_engine(
      {.database = path_},
      [](store::WriteSession&, const rows::DocumentedRows&) { return AdoptionReport{}; });
  std::unique_ptr<store::Wakeup> wakeup_ = engine_->watch_commits(std::nullopt);
};

TEST_F(SignalTest, ComesAfterTheSync) {
  std::atomic<int> syncs = 0;
  std::atomic<int> early = 0;
  const test::FaultVfs vfs([&](const FileAccess& access) {
    if (access.on_wal() && access.call == FileCall::sync) {
      ++syncs;
      if (is_awake(*wakeup_)) ++early;
    }
    return SQLITE_OK;
  });
  CacheManager manager({.database = path_});

  for (int i = 0; i < 3; ++i) {
    wakeup_->clear();
    manager.increment_shared_cluster_usage("h");
    EXPECT_TRUE(is_awake(*wakeup_, 60'000));
  }

  EXPECT_GE(syncs, 3);  // and that of a WAL's header, where it is begun
  EXPECT_EQ(early, 0);
}

TEST_F(SignalTest, DoesNotComeWhileAnotherProcessSyncs) {
  // It stands before the sync of its second write, and has told of the first.
  wakeup_->clear();
  test::StandingStill other(path_, FileCall::sync);
  ASSERT_TRUE(is_awake(*wakeup_, 60'000));
  wakeup_->clear();

  EXPECT_FALSE(is_awake(*wakeup_));

  other.go_on();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_TRUE(is_awake(*wakeup_, 60'000));
}

TEST_F(SignalTest, DoesNotComeForWhatChangesNothing) {
  wakeup_->clear();

  EXPECT_EQ(open_.increment_shared_cluster_usage("unknown"), 0);
  static_cast<void>(open_.get_all_clusters());

  EXPECT_FALSE(is_awake(*wakeup_));
}

TEST_F(SignalTest, ComesWithoutASyncWhereNoneIsAskedFor) {
  wakeup_->clear();

  CacheManager({.database = path_, .durability = Durability::relaxed})
      .increment_shared_cluster_usage("h");

  EXPECT_TRUE(is_awake(*wakeup_, 60'000));
}

}  // namespace
}  // namespace dbcache
