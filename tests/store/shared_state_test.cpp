#include "store/sqlite/shared_state.hpp"

#include <fcntl.h>
#include <fstream>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/sqlite/wal_sync.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/process_barrier.hpp"
#include "support/temporary_directory.hpp"
#include "system/process.hpp"

namespace dbcache::store::sqlite {
namespace {

class SharedStateTest : public ::testing::Test {
 protected:
  SharedStateTest() { test::write_bytes(path_, "the database"); }

  [[nodiscard]] FileIdentity identity() const {
    const auto status = test::status_of(path_);
    return {status.st_dev, status.st_ino};
  }
  [[nodiscard]] std::shared_ptr<SharedState> share() const {
    return SharedState::open(path_, identity());
  }
  [[nodiscard]] ino_t inode() const { return test::status_of(file_).st_ino; }

  /// Writes into the file as it is, not into a new one.
  void patch(std::size_t at, std::string_view bytes) const {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  /// Whether two share their words.
  static bool together(SharedState& one, SharedState& other) {
    const auto before = other.words().committed.load();
    one.words().committed.fetch_add(1);
    return other.words().committed.load() == before + 1;
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::string file_ = path_ + "-sync";
};

TEST_F(SharedStateTest, TwoThatOpenItShareTheirWords) {
  const auto first = share();
  const auto second = share();

  EXPECT_TRUE(together(*first, *second));
  EXPECT_TRUE(together(*second, *first));
}

TEST_F(SharedStateTest, ANewOneBeginsWithNothing) {
  const auto state = share();

  EXPECT_EQ(state->words().committed, 0U);
  EXPECT_EQ(state->words().synced, 0U);
  EXPECT_EQ(state->words().failed_syncs, 0U);
}

TEST_F(SharedStateTest, WhatItHeldIsThereForThoseWhoComeLater) {
  share()->words().committed = 41;

  EXPECT_EQ(share()->words().committed, 41U);
}

TEST_F(SharedStateTest, IsAllocatedInFull) {
  // A hole of a mapped file kills the process that stores into it where the disk is full.
  const auto state = share();

  EXPECT_EQ(test::status_of(file_).st_size, 4096);
  EXPECT_GE(test::status_of(file_).st_blocks * 512, 4096);
}

TEST_F(SharedStateTest, IsOfThisBootAndThisDatabase) {
  const auto state = share();
  const std::string bytes = test::read_bytes(file_);

  EXPECT_NE(bytes.find(system::boot_id()), std::string::npos);
  const std::uint64_t number = identity().inode;
  EXPECT_NE(bytes.find(std::string(reinterpret_cast<const char*>(&number), sizeof number)),
            std::string::npos);
}

// ---- A file of another time or place is put aside

TEST_F(SharedStateTest, OfAnotherBootItIsPutAside) {
  const auto before = share();
  before->words().committed = 7;
  before->words().synced = 7;
  const ino_t old = inode();
  const std::size_t at = test::read_bytes(file_).find(system::boot_id());
  ASSERT_NE(at, std::string::npos);
  patch(at, "another-boot");

  const auto after = share();

  EXPECT_NE(inode(), old);
  EXPECT_EQ(after->words().committed, 0U);
  EXPECT_EQ(after->words().synced, 0U);
  EXPECT_EQ(before->words().committed, 7U) << "somebody may still go by it";
  EXPECT_FALSE(together(*after, *before));
  EXPECT_TRUE(together(*after, *share()));
}

TEST_F(SharedStateTest, OfAnotherDatabaseItIsPutAside) {
  const auto before = share();
  before->words().committed = 7;
  const ino_t old = inode();
  test::write_bytes(path_ + ".new", "another database");
  std::filesystem::rename(path_ + ".new", path_);

  const auto after = share();

  EXPECT_NE(inode(), old);
  EXPECT_EQ(after->words().committed, 0U);
  EXPECT_EQ(before->words().committed, 7U);
  EXPECT_FALSE(together(*before, *after));
}

TEST_F(SharedStateTest, OfAnotherFormatItIsPutAside) {
  const auto before = share();
  before->words().committed = 7;
  patch(0, "dbcache sync 9");

  EXPECT_EQ(share()->words().committed, 0U);
  EXPECT_EQ(before->words().committed, 7U);
}

TEST_F(SharedStateTest, AFileThatWasHalfMadeIsReplaced) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{4095},
                                 std::size_t{4096}, std::size_t{4097}, std::size_t{100'000}}) {
    test::write_bytes(file_, std::string(size, '\0'));
    const ino_t old = inode();
    // Keeps the number from being given to the new file.
    const int open = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);

    const auto first = share();

    EXPECT_NE(inode(), old) << size;
    EXPECT_EQ(test::status_of(file_).st_size, 4096) << size;
    EXPECT_TRUE(together(*first, *share())) << size;
    ::close(open);
    std::filesystem::remove(file_);
  }
}

TEST_F(SharedStateTest, AnEmptyFileIsMadeToServe) {
  test::write_bytes(file_, "");

  const auto state = share();

  EXPECT_EQ(test::status_of(file_).st_size, 4096);
  EXPECT_TRUE(together(*state, *share()));
}

TEST_F(SharedStateTest, AfterItWasDeletedThoseWhoHaveItGoOnAmongThemselves) {
  const auto first = share();
  const auto second = share();
  std::filesystem::remove(file_);

  const auto later = share();

  EXPECT_TRUE(together(*first, *second));
  EXPECT_FALSE(together(*later, *first));
  EXPECT_TRUE(together(*later, *share()));
  // The right to sync is theirs each.
  EXPECT_TRUE(first->try_lock_sync());
  EXPECT_FALSE(second->try_lock_sync());
  EXPECT_TRUE(later->try_lock_sync());
}

// ---- Where there is none to be had

/// A state that only the threads of this process have.
bool serves_its_threads(SharedState& state) {
  WalSync sync(state);
  std::vector<std::thread> threads;
  std::atomic<int> syncs = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) sync.wait(sync.number_commit(), [&] { ++syncs; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  return state.words().synced == 400 && syncs > 0 && syncs <= 400 && state.try_lock_sync() &&
         !state.try_lock_sync();
}

TEST_F(SharedStateTest, ALinkInItsPlaceIsNotFollowed) {
  const std::string target = (directory_.path() / "target").string();
  test::write_bytes(target, "precious");
  std::filesystem::create_symlink(target, file_);

  const auto state = share();

  EXPECT_TRUE(serves_its_threads(*state));
  EXPECT_FALSE(together(*state, *share()));
  EXPECT_EQ(test::read_bytes(target), "precious");
}

TEST_F(SharedStateTest, ADirectoryInItsPlaceIsLeftThere) {
  std::filesystem::create_directory(file_);

  EXPECT_TRUE(serves_its_threads(*share()));
  EXPECT_TRUE(std::filesystem::is_directory(file_));
}

TEST_F(SharedStateTest, WhereTheFileMayNotBeWrittenEachProcessHasItsOwn) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  test::write_bytes(file_, "");
  std::filesystem::permissions(file_, std::filesystem::perms(0));

  EXPECT_EQ(test::in_child_as_ordinary_user(
                [&] { return serves_its_threads(*share()) ? "serves" : "does not"; }),
            "serves");
}

TEST_F(SharedStateTest, WhereTheDirectoryMayNotBeWrittenEachProcessHasItsOwn) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0555));

  EXPECT_EQ(test::in_child_as_ordinary_user(
                [&] { return serves_its_threads(*share()) ? "serves" : "does not"; }),
            "serves");

  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
}

// ---- Many at once

TEST_F(SharedStateTest, SixteenProcessesThatOpenItAtOnceShareOne) {
  constexpr int processes = 16;
  constexpr int additions = 1000;
  // Nothing there; something half made; another boot's.
  for (int round = 0; round < 30; ++round) {
    std::filesystem::remove(file_);
    if (round % 3 == 1) test::write_bytes(file_, std::string(4096, '\0'));
    if (round % 3 == 2) {
      share()->words().committed = 1'000'000;
      patch(test::read_bytes(file_).find(system::boot_id()), "another-boot");
    }
    const test::ProcessBarrier together(processes);
    std::vector<test::ChildProcess> children;
    for (int i = 0; i < processes; ++i) {
      children.emplace_back([&] {
        together.wait();
        const auto state = share();
        for (int n = 0; n < additions; ++n) state->words().committed.fetch_add(1);
        return 0;
      });
    }
    for (auto& child : children) EXPECT_EQ(child.wait(), 0);

    EXPECT_EQ(share()->words().committed, processes * additions) << "in round " << round;
  }
}

TEST_F(SharedStateTest, OnlyOneHasTheRightToSync) {
  const auto first = share();
  const auto second = share();

  EXPECT_TRUE(first->try_lock_sync());
  EXPECT_FALSE(first->try_lock_sync());
  EXPECT_FALSE(second->try_lock_sync());
  EXPECT_EQ(test::in_child([&] { return share()->try_lock_sync() ? "has it" : "has not"; }),
            "has not");

  first->unlock_sync();
  EXPECT_TRUE(second->try_lock_sync());
}

// ---- Whose it is

class SharedStateMode : public SharedStateTest, public ::testing::WithParamInterface<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Modes, SharedStateMode, ::testing::Values(0600U, 0640U, 0660U, 0666U));

TEST_P(SharedStateMode, IsTheDatabases) {
  const test::Umask umask(0077);
  ASSERT_EQ(::chmod(path_.c_str(), GetParam()), 0);

  const auto state = share();

  EXPECT_EQ(test::mode_of(file_), GetParam());
}

TEST_F(SharedStateTest, TakesTheGroupOfTheDatabase) {
  if (!test::is_root()) GTEST_SKIP() << "who is not root may give few groups";
  constexpr gid_t group = 12345;
  ASSERT_EQ(::chown(path_.c_str(), test::other_user, group), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0660), 0);

  const auto state = share();

  EXPECT_EQ(test::status_of(file_).st_gid, group);
  EXPECT_EQ(test::status_of(file_).st_uid, test::other_user);
  EXPECT_EQ(test::mode_of(file_), 0660U);
}

TEST_F(SharedStateTest, IsSharedWithAnotherUserWhoMayWriteTheDatabase) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0777));
  ASSERT_EQ(::chmod(path_.c_str(), 0666), 0);
  const auto state = share();

  EXPECT_EQ(test::in_child_as_ordinary_user([&] {
              share()->words().committed.fetch_add(1);
              return "";
            }),
            "");

  EXPECT_EQ(state->words().committed, 1U);
}

}  // namespace
}  // namespace dbcache::store::sqlite
