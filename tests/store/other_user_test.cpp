#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "store/sqlite/files.hpp"
#include "store/sqlite/side_rights.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/refused_call.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::StartsWith;

/// A database that this user made, in a directory where everyone may write.
class OtherUser : public ::testing::Test {
 protected:
  OtherUser() {
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0777));
    CacheManager({.database = path_}).cache_new_cluster("c");
  }

  test::BareEnvironment environment_;
  test::Umask umask_{0022};
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

/// Every call of the manager reads or writes the database.
struct Call {
  std::string name;
  std::function<void(CacheManager&)> call;

  friend std::ostream& operator<<(std::ostream& out, const Call& given) {
    return out << given.name;
  }
};

class CallOfOtherUser : public OtherUser, public ::testing::WithParamInterface<Call> {};

INSTANTIATE_TEST_SUITE_P(
    Calls, CallOfOtherUser,
    ::testing::Values(
        Call{"List", [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }},
        Call{"Statistics", [](CacheManager& m) { static_cast<void>(m.get_cache_statistics()); }},
        Call{"History", [](CacheManager& m) { static_cast<void>(m.history()); }},
        Call{"Verify", [](CacheManager& m) { static_cast<void>(m.verify()); }},
        Call{"Cache", [](CacheManager& m) { m.cache_new_cluster("d"); }},
        Call{"Clear", [](CacheManager& m) { m.clear_cluster_cache(); }},
        Call{"Register", [](CacheManager& m) { m.register_shared_cluster_creation("h", 1); }},
        Call{"Replay", [](CacheManager& m) { m.replay(); }},
        Call{"Optimize", [](CacheManager& m) { m.optimize_database(); }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(CallOfOtherUser, IsToldThatItMayNotWriteAndLeavesNoFileBehind) {
  // 0644, another's; where there is only one user, without the right to write.
  if (!test::is_root()) std::filesystem::permissions(path_, std::filesystem::perms(0444));
  std::filesystem::remove(path_ + "-turn");
  const auto before = test::names_in(directory_.path());
  const std::string bytes = test::read_bytes(path_);

  const std::string error = test::in_child_as_ordinary_user([&] {
    return test::error_of([&] {
      CacheManager manager({.database = path_});
      GetParam().call(manager);
      return 0;
    });
  });

  EXPECT_THAT(error,
              AllOf(StartsWith("StorageFailure: "), HasSubstr(path_), HasSubstr("may not write")));
  EXPECT_EQ(test::names_in(directory_.path()), before);
  EXPECT_TRUE(test::read_bytes(path_) == bytes);
}

TEST_F(OtherUser, WhoMayWriteSharesTheDatabaseWithItsOwner) {
  std::filesystem::permissions(path_, std::filesystem::perms(0666));
  CacheManager owner({.database = path_});
  owner.cache_new_cluster("mine");  // leaves its WAL open to the others too

  EXPECT_EQ(test::in_child_as_ordinary_user([&] {
              return test::error_of([&] {
                CacheManager({.database = path_}).cache_new_cluster("theirs");
                return 0;
              });
            }),
            "");
  owner.cache_new_cluster("mine-again");

  EXPECT_EQ(owner.get_all_clusters().size(), 4U);
  EXPECT_TRUE(owner.verify().ok());
}

TEST_F(OtherUser, WhatRootLeavesBehindIsTheOwnersToUse) {
  // Where there is only one user, the files are one user's in either case.
  if (test::is_root()) {
    for (const std::string& name : test::names_in(directory_.path())) {
      ASSERT_EQ(::chown((directory_.path() / name).c_str(), test::other_user, test::other_user), 0);
    }
    std::filesystem::remove(path_ + "-turn");
  }
  CacheManager root({.database = path_});
  root.cache_new_cluster("from-root");

  EXPECT_EQ(test::in_child_as_ordinary_user([&] {
              return test::error_of([&] {
                CacheManager({.database = path_}).cache_new_cluster("from-the-owner");
                return 0;
              });
            }),
            "");

  for (const std::string& name : test::names_in(directory_.path())) {
    EXPECT_EQ(test::status_of(directory_.path() / name).st_uid, test::status_of(path_).st_uid)
        << name;
  }
}

/// A database that somebody else made, which others may write. All of them can go on using it, in
/// whatever order they come.
class Shared : public ::testing::Test {
 protected:
  static constexpr gid_t group = 12345;
  static constexpr uid_t owner = 1001;
  static constexpr uid_t user = 1002;

  void SetUp() override {
    if (!test::is_root()) GTEST_SKIP() << "only root can be several users";
    CacheManager({.database = path_}).cache_new_cluster("c");
    for (const std::string& name : test::names_in(directory_.path())) {
      if (name != "cache.db") std::filesystem::remove(directory_.path() / name);
    }
  }

  void make(mode_t directory, mode_t database, gid_t of = group) const {
    ASSERT_EQ(::chown(directory_.path().c_str(), 0, of), 0);
    ASSERT_EQ(::chmod(directory_.path().c_str(), directory), 0);
    ASSERT_EQ(::chown(path_.c_str(), owner, of), 0);
    ASSERT_EQ(::chmod(path_.c_str(), database), 0);
  }
  /// Writes, and takes part in a run, as this user with these groups; the error, or nothing.
  [[nodiscard]] std::string use(uid_t as, gid_t own_group, std::vector<gid_t> others = {}) const {
    return test::in_child([&]() -> std::string {
      if (::setgroups(others.size(), others.data()) != 0 || ::setgid(own_group) != 0 ||
          ::setuid(as) != 0) {
        return "the user could not be changed";
      }
      ::umask(0077);
      return test::error_of([&] {
        CacheManager manager({.database = path_});
        manager.cache_new_cluster("by-" + std::to_string(as));
        SharedClusters(manager).join_run("r").leave();
        return manager.get_all_clusters();
      });
    });
  }
  /// As what is left by somebody who was killed: the WAL too.
  [[nodiscard]] std::string use_and_be_killed(uid_t as, gid_t own_group,
                                              std::vector<gid_t> others = {}) const {
    return test::in_child([&] {
      test::Pipe used;
      test::ChildProcess killed([&] {
        if (::setgroups(others.size(), others.data()) != 0 || ::setgid(own_group) != 0 ||
            ::setuid(as) != 0) {
          return 1;
        }
        ::umask(0077);
        CacheManager manager({.database = path_});
        manager.cache_new_cluster("by-" + std::to_string(as));
        const auto joined = SharedClusters(manager).join_run("r");
        used.signal();
        for (;;) ::pause();
      });
      used.close_write();
      const bool done = used.wait();
      killed.kill(SIGKILL);
      killed.wait();
      return std::string(done ? "" : "not used");
    });
  }
  [[nodiscard]] std::vector<std::string> names() const { return test::names_in(directory_.path()); }

  test::BareEnvironment environment_;
  test::Umask umask_{0022};
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(Shared, WithEverybodyByItsModeItLocksNobodyOut) {
  make(0777, 0666, 0);

  EXPECT_EQ(use_and_be_killed(user, user), "");  // in no group of the database's
  EXPECT_EQ(use(owner, owner), "");
  EXPECT_EQ(use(user + 1, user + 1), "");
  EXPECT_EQ(use(0, 0), "");
  EXPECT_EQ(use(user, user), "");
}

TEST_F(Shared, WithItsGroupItLocksNobodyOut) {
  make(0770, 0660);

  EXPECT_EQ(use_and_be_killed(user, user, {group}), "");
  EXPECT_EQ(use(owner, group), "");
  EXPECT_EQ(use(user + 1, group), "");
  for (const std::string& name : names()) {
    EXPECT_EQ(test::status_of(directory_.path() / name).st_gid, group) << name;
    EXPECT_EQ(test::mode_of(directory_.path() / name), 0660U) << name;
  }
}

TEST_F(Shared, InADirectoryWithTheSetgidBitItLocksNobodyOut) {
  make(02770, 0664);

  EXPECT_EQ(use_and_be_killed(user, user, {group}), "");
  EXPECT_EQ(use(owner, owner, {group}), "");
  EXPECT_EQ(use(0, 0), "");
  EXPECT_EQ(use(user, group), "");
}

TEST_F(Shared, AUserWhoCannotGiveFilesItsGroupIsRefusedAndMakesNone) {
  make(0777, 0660);
  // The owner itself could not let the group use its files.
  ASSERT_EQ(::chown(path_.c_str(), user, group), 0);

  EXPECT_THAT(use(user, user),
              AllOf(StartsWith("StorageFailure: "), HasSubstr("run it with that group")));

  EXPECT_THAT(names(), ElementsAre("cache.db"));
}

TEST_F(Shared, AnOwnerWhoIsNotInItsGroupIsNotLockedOut) {
  make(0777, 0660);
  // `nobody` is a user that every machine knows, and is in no group of this number.
  ASSERT_EQ(::chown(path_.c_str(), test::other_user, group), 0);

  EXPECT_THAT(use(user, group), AllOf(StartsWith("StorageFailure: "), HasSubstr("its group")));

  EXPECT_THAT(names(), ElementsAre("cache.db"));
}

TEST_F(Shared, AFileOfAnotherIsOpenedWithoutMakingIt) {
  make(0777, 0666);
  ASSERT_EQ(use(owner, group), "");

  EXPECT_EQ(test::in_child([&] {
              test::refuse_open(O_CREAT, EACCES);
              const int turn = store::sqlite::open_side_file(path_, "-turn");
              const int locks = store::sqlite::open_side_file(path_, "-locks");
              return std::string(turn >= 0 && locks >= 0 ? "opened" : "not opened");
            }),
            "opened");
}

TEST(ProtectedFiles, AreThoseOfOthersInStickyDirectories) {
  struct stat file {};
  struct stat directory {};
  file.st_uid = ::geteuid() + 1;
  directory.st_uid = ::geteuid() + 2;
  directory.st_mode = S_IFDIR | 01777;
  using store::sqlite::is_protected;
  EXPECT_TRUE(is_protected(file, directory, 1));
  EXPECT_TRUE(is_protected(file, directory, 2));
  EXPECT_FALSE(is_protected(file, directory, 0));
  directory.st_mode = S_IFDIR | 01770;
  EXPECT_FALSE(is_protected(file, directory, 1));
  EXPECT_TRUE(is_protected(file, directory, 2));
  directory.st_mode = S_IFDIR | 0777;
  EXPECT_FALSE(is_protected(file, directory, 2));
  directory.st_mode = S_IFDIR | 01777;
  file.st_uid = ::geteuid();
  EXPECT_FALSE(is_protected(file, directory, 2));
  file.st_uid = directory.st_uid;
  EXPECT_FALSE(is_protected(file, directory, 2));
}

/// The mode of a database, which its side files take.
class SideFiles : public ::testing::TestWithParam<unsigned> {
 protected:
  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();

  void expect_mode_of_each_file(mode_t mode) const {
    const auto names = test::names_in(directory_.path());
    EXPECT_THAT(names, ElementsAre("cache.db", "cache.db-shm", "cache.db-signal", "cache.db-sync",
                                   "cache.db-turn", "cache.db-wal"));
    for (const std::string& name : names) {
      EXPECT_EQ(test::mode_of(directory_.path() / name), mode) << name;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, SideFiles, ::testing::Values(0600U, 0640U, 0644U, 0660U, 0666U));

TEST_P(SideFiles, TakeTheModeOfANewDatabase) {
  const test::Umask umask(0777 & ~GetParam());  // of SQLite's 0644
  CacheManager manager({.database = path_});

  manager.cache_new_cluster("c");

  expect_mode_of_each_file(0644 & GetParam());
}

TEST_P(SideFiles, TakeTheModeThatTheDatabaseWasGiven) {
  CacheManager({.database = path_}).cache_new_cluster("c");
  ASSERT_EQ(::chmod(path_.c_str(), GetParam()), 0);
  const test::Umask umask(0077);
  CacheManager manager({.database = path_});

  manager.cache_new_cluster("d");

  expect_mode_of_each_file(GetParam());
}

TEST_F(SideFiles, TakeTheGroupOfTheDatabase) {
  // A group that this user may give: any for root, else one of its own.
  gid_t groups[64];
  const int count = ::getgroups(64, groups);
  const gid_t group = test::is_root() ? 12345 : (count > 0 ? groups[count - 1] : ::getegid());
  CacheManager({.database = path_}).cache_new_cluster("c");
  ASSERT_EQ(::chown(path_.c_str(), static_cast<uid_t>(-1), group), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0660), 0);
  CacheManager manager({.database = path_});

  manager.cache_new_cluster("d");

  expect_mode_of_each_file(0660);
  for (const std::string& name : test::names_in(directory_.path())) {
    EXPECT_EQ(test::status_of(directory_.path() / name).st_gid, group) << name;
  }
}

/// A link planted where a file beside the database would be made.
class PlantedLink : public ::testing::TestWithParam<const char*> {
 protected:
  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  test::TemporaryDirectory elsewhere_;
  std::string path_ = directory_.database();
  std::filesystem::path target_ = elsewhere_.path() / "target";
};

INSTANTIATE_TEST_SUITE_P(Suffixes, PlantedLink, ::testing::Values("-turn", "-wal", "-shm"));

TEST_P(PlantedLink, IsNotFollowedToMakeAFile) {
  std::filesystem::create_symlink(target_, path_ + GetParam());

  static_cast<void>(test::error_of([&] {
    CacheManager({.database = path_}).cache_new_cluster("c");
    return 0;
  }));

  EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_P(PlantedLink, DoesNotReachAFileThatIsThere) {
  CacheManager({.database = path_}).cache_new_cluster("c");
  std::filesystem::remove(path_ + GetParam());
  test::write_bytes(target_, "precious");
  ASSERT_EQ(::chmod(target_.c_str(), 0600), 0);
  std::filesystem::create_symlink(target_, path_ + GetParam());

  EXPECT_THAT(test::error_of([&] {
                CacheManager({.database = path_}).cache_new_cluster("d");
                return 0;
              }),
              StartsWith("StorageFailure: "));

  EXPECT_EQ(test::read_bytes(target_), "precious");
  EXPECT_EQ(test::mode_of(target_), 0600U);
}

TEST_F(PlantedLink, InPlaceOfTheSignalIsNotFollowedEither) {
  CacheManager({.database = path_}).cache_new_cluster("c");
  std::filesystem::remove(path_ + "-signal");
  test::write_bytes(target_, "precious");
  ASSERT_EQ(::chmod(target_.c_str(), 0600), 0);
  std::filesystem::create_symlink(target_, path_ + "-signal");

  CacheManager({.database = path_}).cache_new_cluster("d");  // that nobody is woken harms nobody

  EXPECT_EQ(test::read_bytes(target_), "precious");
  EXPECT_EQ(test::mode_of(target_), 0600U);
}

TEST_F(PlantedLink, InPlaceOfTheLocksIsRefusedAndNotFollowed) {
  test::write_bytes(target_, "precious");
  std::filesystem::create_symlink(target_, path_ + "-locks");

  EXPECT_THAT(test::error_of([&] { return SharedClusters({.database = path_}).join_run("r"); }),
              StartsWith("StorageFailure: "));

  EXPECT_EQ(test::read_bytes(target_), "precious");
}

TEST(NetworkFileSystem, IsToldByItsNumber) {
  constexpr long nfs = 0x6969, smb = 0x517B, cifs = 0xFF534D42, smb2 = 0xFE534D42,
                 v9fs = 0x01021997;
  for (const long type : {nfs, smb, cifs, smb2, v9fs}) {
    EXPECT_TRUE(store::sqlite::is_network_filesystem(type)) << type;
  }
  constexpr long ext4 = 0xEF53, tmpfs = 0x01021994, xfs = 0x58465342, btrfs = 0x9123683E,
                 overlay = 0x794C7630, zfs = 0x2FC12FC1;
  for (const long type : {ext4, tmpfs, xfs, btrfs, overlay, zfs}) {
    EXPECT_FALSE(store::sqlite::is_network_filesystem(type)) << type;
  }
}

}  // namespace
}  // namespace dbcache
