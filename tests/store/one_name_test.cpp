#include "store/sqlite/one_name.hpp"

#include <sched.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

// One database has one set of files beside it, so it is used by one name.
namespace dbcache {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class OneName : public ::testing::Test {
 protected:
  OneName() {
    fs::create_directory(directory_.path() / "one");
    fs::create_directory(directory_.path() / "two");
    CacheManager({.database = one_}).cache_new_cluster("c");
  }

  static std::string read(const std::string& path) {
    return test::error_of([&] { return CacheManager({.database = path}).get_all_clusters(); });
  }
  static std::string write(const std::string& path) {
    return test::error_of([&] {
      CacheManager({.database = path}).cache_new_cluster("d");
      return 0;
    });
  }
  static std::string join(const std::string& path) {
    return test::error_of([&] { return SharedClusters({.database = path}).join_run("r"); });
  }
  static void expect_refused(const std::string& path, const char* why) {
    for (const std::string& error : {read(path), write(path), join(path)}) {
      EXPECT_THAT(error, AllOf(StartsWith("StorageFailure: "), HasSubstr(path), HasSubstr(why)));
    }
  }
  static void expect_used(const std::string& path) {
    EXPECT_EQ(read(path), "");
    EXPECT_EQ(write(path), "");
    EXPECT_EQ(join(path), "");
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string one_ = (directory_.path() / "one" / "cache.db").string();
  std::string two_ = (directory_.path() / "two" / "cache.db").string();
};

TEST_F(OneName, AHardLinkElsewhereIsRefusedAndTheFirstNameIsUsed) {
  fs::create_hard_link(one_, two_);

  expect_refused(two_, "hard links");

  EXPECT_THAT(test::names_in(directory_.path() / "two"), ElementsAre("cache.db"));
  expect_used(one_);
}

TEST_F(OneName, AHardLinkBesideItIsRefused) {
  const std::string other = one_ + ".bak";
  fs::create_hard_link(one_, other);

  expect_refused(other, "hard links");
  expect_used(one_);
}

TEST_F(OneName, AWorkspaceThatWasCopiedAsHardLinksIsRefused) {
  for (const std::string& name : test::names_in(directory_.path() / "one")) {
    fs::create_hard_link(directory_.path() / "one" / name, directory_.path() / "two" / name);
  }

  expect_refused(two_, "hard links");
  expect_used(one_);
}

TEST_F(OneName, AHardLinkInPlaceOfAnotherDatabaseIsRefused) {
  CacheManager({.database = two_}).cache_new_cluster("another");
  fs::remove(two_);
  fs::create_hard_link(one_, two_);

  expect_refused(two_, "hard links");
  expect_used(one_);
}

TEST_F(OneName, AnOpenManagerIsRefusedFromWhenItsNameIsAnothers) {
  CacheManager manager({.database = two_});
  EXPECT_TRUE(manager.get_all_clusters().empty());
  fs::create_hard_link(one_, two_);

  EXPECT_THAT(test::error_of([&] { return manager.get_all_clusters(); }), HasSubstr("hard links"));
}

TEST_F(OneName, TheLastNameThatIsLeftIsUsed) {
  fs::create_hard_link(one_, two_);
  fs::remove_all(directory_.path() / "one");

  expect_used(two_);
}

TEST_F(OneName, AMovedDatabaseIsUsedByItsNewNameFromThenOn) {
  for (const std::string& name : test::names_in(directory_.path() / "one")) {
    fs::rename(directory_.path() / "one" / name, directory_.path() / "two" / name);
  }
  ASSERT_EQ(write(two_), "");
  fs::create_hard_link(two_, one_);

  expect_refused(one_, "hard links");
  expect_used(two_);
}

TEST_F(OneName, WithoutTheFileThatTellsBothNamesAreRefused) {
  fs::create_hard_link(one_, two_);
  fs::remove(one_ + "-sync");

  expect_refused(one_, "hard links");
  expect_refused(two_, "hard links");
}

TEST_F(OneName, AnEmptyFileOfTwoNamesIsRefused) {
  const std::string first = (directory_.path() / "one" / "new.db").string();
  test::write_bytes(first, "");
  fs::create_hard_link(first, directory_.path() / "two" / "new.db");

  expect_refused(first, "hard links");
}

/// Mounts `from` on `to`, for this process alone. What stops it, or nothing.
std::string mount_on(const std::string& from, const std::string& to) {
  if (::unshare(CLONE_NEWNS) != 0) return "no namespace of mounts can be made";
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return "nothing can be mounted";
  }
  return "";
}

TEST_F(OneName, AFileThatIsMountedWithoutItsDirectoryIsRefused) {
  test::write_bytes(two_, "");

  const std::string told = test::in_child([&]() -> std::string {
    if (const std::string stopped = mount_on(one_, two_); !stopped.empty()) return stopped;
    std::string errors;
    for (const std::string& error : {read(two_), write(two_), join(two_)}) {
      const bool is_right = error.starts_with("StorageFailure: the database " + two_) &&
                            error.find("mount the directory") != std::string::npos;
      errors += is_right ? "refused " : error;
    }
    for (const std::string& name : test::names_in(directory_.path() / "two")) errors += name;
    return errors;
  });

  if (told.starts_with("no")) GTEST_SKIP() << told;
  EXPECT_EQ(told, "refused refused refused cache.db");
  expect_used(one_);
}

TEST_F(OneName, AFileInAMountedDirectoryIsUsed) {
  const std::string told = test::in_child([&] {
    const std::string stopped =
        mount_on(fs::path(one_).parent_path().string(), fs::path(two_).parent_path().string());
    return stopped.empty() ? write(two_) : stopped;
  });

  if (told.starts_with("no")) GTEST_SKIP() << told;
  EXPECT_EQ(told, "");
}

TEST(MountInfo, ListsWhatIsMountedByItsWholeName) {
  const std::string text =
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "31 22 8:1 /data/cache.db /ci/a\\040b/cache.db rw,relatime shared:1 - ext4 /dev/sda1 rw\n";
  EXPECT_TRUE(store::sqlite::lists_mount(text, "/ci/a b/cache.db"));
  EXPECT_TRUE(store::sqlite::lists_mount(text, "/"));
  EXPECT_FALSE(store::sqlite::lists_mount(text, "/data/cache.db"));
  EXPECT_FALSE(store::sqlite::lists_mount(text, "/ci/a b"));
  EXPECT_FALSE(store::sqlite::lists_mount("", "/"));
}

}  // namespace
}  // namespace dbcache
