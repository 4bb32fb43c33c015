#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class BadPath : public ::testing::Test {
 protected:
  static std::string read(const std::string& path) {
    return test::error_of([&] { return CacheManager({.database = path}).get_all_clusters(); });
  }
  static std::string write(const std::string& path) {
    return test::error_of([&] {
      CacheManager({.database = path}).cache_new_cluster("c");
      return 0;
    });
  }
  static auto fails_naming(const std::string& type, const std::string& path) {
    return AllOf(StartsWith(type + ": "), HasSubstr(path));
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

TEST_F(BadPath, ADirectoryIsRefusedAndNothingIsPutBesideIt) {
  std::filesystem::create_directory(path_);

  EXPECT_THAT(read(path_), fails_naming("StorageFailure", path_));
  EXPECT_THAT(write(path_), fails_naming("StorageFailure", path_));

  EXPECT_THAT(test::names_in(directory_.path()), ElementsAre("cache.db"));
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST_F(BadPath, AFifoIsRefusedWithoutWaitingForItsOtherEnd) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);

  EXPECT_THAT(read(path_), fails_naming("StorageFailure", path_));
  EXPECT_THAT(write(path_), fails_naming("StorageFailure", path_));

  EXPECT_THAT(test::names_in(directory_.path()), ElementsAre("cache.db"));
}

TEST_F(BadPath, AFileInPlaceOfADirectoryIsRefused) {
  test::write_bytes(path_, "a file");
  const std::string below = path_ + "/cache.db";

  EXPECT_THAT(read(below), fails_naming("StorageFailure", below));
  EXPECT_THAT(write(below), fails_naming("StorageFailure", below));
}

TEST_F(BadPath, ADirectoryThatIsALinkToNowhereReadsAsNoDatabaseAndCannotBeWritten) {
  const std::filesystem::path link = directory_.path() / "link";
  std::filesystem::create_symlink(directory_.path() / "nowhere" / "deeper", link);
  const std::string below = (link / "cache.db").string();

  EXPECT_EQ(read(below), "");
  EXPECT_THAT(write(below), fails_naming("StorageFailure", link.string()));

  EXPECT_THAT(test::names_in(directory_.path()), ElementsAre("link"));
}

TEST_F(BadPath, ALinkInACircleIsRefused) {
  std::filesystem::create_symlink(path_, path_);

  EXPECT_THAT(read(path_), fails_naming("StorageFailure", path_));
  EXPECT_THAT(write(path_), fails_naming("StorageFailure", path_));
}

TEST_F(BadPath, ADatabaseBehindALinkIsUsedWhereItLies) {
  std::filesystem::create_directory(directory_.path() / "real");
  std::filesystem::create_symlink(directory_.path() / "real" / "cache.db", path_);
  const std::string real = (directory_.path() / "real" / "cache.db").string();
  ASSERT_EQ(write(real), "");
  CacheManager manager({.database = path_});

  manager.cache_new_cluster("d");

  EXPECT_EQ(manager.get_all_clusters().size(), 2U);
  EXPECT_TRUE(manager.get_database_info().wal_exists);
  EXPECT_THAT(test::names_in(directory_.path()), ElementsAre("cache.db", "real"));
}

TEST_F(BadPath, ANameThatIsTooLongIsRefused) {
  const std::string path = (directory_.path() / std::string(300, 'x')).string();

  for (const std::string& error : {read(path), write(path)}) {
    EXPECT_THAT(error, AllOf(StartsWith("StorageFailure: "), HasSubstr("too long"),
                             HasSubstr("300 bytes"), HasSubstr("at most 246")));
  }
}

TEST_F(BadPath, ANameThatLeavesNoRoomForTheFilesBesideItIsRefused) {
  const std::string longest = (directory_.path() / std::string(246, 'x')).string();
  EXPECT_EQ(write(longest), "");
  EXPECT_THAT(write(longest + "x"), HasSubstr("too long"));
}

TEST_F(BadPath, ANameOfADirectoryThatIsTooLongIsRefused) {
  const auto directory = directory_.path() / "new" / std::string(256, 'x');

  EXPECT_THAT(write((directory / "cache.db").string()),
              AllOf(HasSubstr("too long"), HasSubstr("256 bytes"), HasSubstr("at most 255")));

  EXPECT_THAT(test::names_in(directory_.path()), IsEmpty());
}

TEST_F(BadPath, APathThatIsTooLongForSqliteIsRefusedAndNothingIsMade) {
  const std::size_t most = 504;
  std::filesystem::path directory = directory_.path();
  while (directory.native().size() + 120 < most) directory /= std::string(100, 'd');
  const std::size_t left = most - directory.native().size() - 1;
  const std::string longest = (directory / std::string(left, 'x')).string();
  ASSERT_EQ(longest.size(), most);

  for (const std::string& error : {read(longest + "x"), write(longest + "x")}) {
    EXPECT_THAT(error, AllOf(StartsWith("StorageFailure: "), HasSubstr("too long"),
                             HasSubstr("505 bytes"), HasSubstr("at most 504")));
  }
  EXPECT_THAT(test::names_in(directory_.path()), IsEmpty());

  EXPECT_EQ(write(longest), "");
  EXPECT_EQ(CacheManager({.database = longest}).get_all_clusters().size(), 1U);
}

TEST_F(BadPath, AFileThatIsNoDatabaseIsRefusedAndKept) {
  const std::string text(5000, 'x');
  test::write_bytes(path_, text);

  EXPECT_THAT(read(path_), fails_naming("CorruptDatabase", path_));
  EXPECT_THAT(write(path_), fails_naming("CorruptDatabase", path_));

  EXPECT_TRUE(test::read_bytes(path_) == text);
}

TEST_F(BadPath, AnUnwritableDirectoryIsRefusedBeforeAnythingIsMade) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0555));

  EXPECT_THAT(test::in_child_as_ordinary_user([&] { return write(path_); }),
              fails_naming("StorageFailure", directory_.path().string()));
  EXPECT_THAT(test::in_child_as_ordinary_user([&] { return write(path_ + "/deep/cache.db"); }),
              fails_naming("StorageFailure", path_));
  EXPECT_EQ(test::in_child_as_ordinary_user([&] { return read(path_); }), "");

  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(BadPath, ADirectoryThatMayNotBeEnteredIsRefused) {
  std::filesystem::create_directory(directory_.path() / "closed");
  const std::string path = (directory_.path() / "closed" / "cache.db").string();
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(directory_.path() / "closed", std::filesystem::perms(0));

  EXPECT_THAT(test::in_child_as_ordinary_user([&] { return read(path); }),
              fails_naming("StorageFailure", path));
  EXPECT_THAT(test::in_child_as_ordinary_user([&] { return write(path); }),
              StartsWith("StorageFailure: "));

  std::filesystem::permissions(directory_.path() / "closed", std::filesystem::perms(0755));
}

/// A name that is no path of a file.
class NotAPath : public BadPath, public ::testing::WithParamInterface<std::string> {};

INSTANTIATE_TEST_SUITE_P(Names, NotAPath,
                         ::testing::Values(":memory:", "file:cache.db",
                                           "file::memory:", std::string("cache\0.db", 9)));

TEST_P(NotAPath, IsRefusedAtOnce) {
  EXPECT_THROW(CacheManager({.database = GetParam()}), InvalidArgument);
}

TEST_F(BadPath, AnOptionThatNoDatabaseCouldHaveIsRefusedAtOnce) {
  EXPECT_THROW(CacheManager({.database = path_, .busy_timeout = std::chrono::milliseconds{-1}}),
               InvalidArgument);
  EXPECT_THROW(CacheManager({.database = path_, .default_expiry = std::chrono::microseconds{-1}}),
               InvalidArgument);
  EXPECT_THROW(CacheManager({.database = path_, .adoption_timezone = "Nowhere/At_All"}),
               InvalidArgument);
}

/// A database cut to a part of its size.
class Truncated : public BadPath, public ::testing::WithParamInterface<std::uintmax_t> {};

INSTANTIATE_TEST_SUITE_P(Sizes, Truncated,
                         ::testing::Values(1, 15, 16, 99, 100, 512, 4095, 4096, 8192, 20000));

TEST_P(Truncated, IsRefusedAndLeftAsItIs) {
  {
    CacheManager manager({.database = path_});
    for (int i = 0; i < 40; ++i) manager.cache_new_cluster("c-" + std::to_string(i));
    manager.optimize_database();
  }
  ASSERT_GT(std::filesystem::file_size(path_), 3 * GetParam() / 2);
  std::filesystem::resize_file(path_, GetParam());
  const std::string before = test::read_bytes(path_);

  EXPECT_THAT(read(path_), fails_naming("CorruptDatabase", path_));
  EXPECT_THAT(write(path_), fails_naming("CorruptDatabase", path_));

  EXPECT_TRUE(test::read_bytes(path_) == before);
}

TEST_F(BadPath, APageOfRubbishInTheMiddleIsRefused) {
  {
    CacheManager manager({.database = path_});
    for (int i = 0; i < 40; ++i) manager.cache_new_cluster("c-" + std::to_string(i));
    manager.optimize_database();
  }
  std::string bytes = test::read_bytes(path_);
  std::fill(bytes.begin() + 4096, bytes.end(), '\x5A');
  test::write_bytes(path_, bytes);

  EXPECT_THAT(read(path_), StartsWith("CorruptDatabase: "));
  EXPECT_THAT(write(path_), StartsWith("CorruptDatabase: "));
}

TEST_F(BadPath, ADatabaseWithoutItsLogIsRefused) {
  ASSERT_EQ(write(path_), "");
  test::run_sql(path_, "DROP TABLE events");

  EXPECT_THAT(write(path_), fails_naming("CorruptDatabase", path_));
}

TEST_F(BadPath, ADatabaseWithoutADocumentedTableIsRefused) {
  ASSERT_EQ(write(path_), "");
  test::run_sql(path_, "DROP TABLE clusters");

  EXPECT_THAT(read(path_), fails_naming("CorruptDatabase", path_));
  EXPECT_THAT(write(path_), fails_naming("CorruptDatabase", path_));
}

}  // namespace
}  // namespace dbcache
