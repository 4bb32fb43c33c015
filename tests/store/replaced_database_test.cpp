#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A database whose file goes away, or becomes another, while a manager has it open.
class ReplacedDatabase : public ::testing::Test {
 protected:
  ReplacedDatabase() {
    manager_.cache_new_cluster("old");
    // Reading and writing connections of it are open now, and the WAL has not been moved.
    EXPECT_THAT(clusters(manager_), ElementsAre("old"));
  }

  static std::vector<std::string> clusters(const CacheManager& manager) {
    std::vector<std::string> ids;
    for (const CachedCluster& row : manager.get_all_clusters()) ids.push_back(row.cluster_id);
    return ids;
  }
  /// As a process sees it that comes later, and finds on disk what all others left there.
  [[nodiscard]] std::string clusters_for_a_newcomer() const {
    return test::in_child([&] {
      CacheManager manager({.database = path_});
      std::string ids;
      for (const std::string& id : clusters(manager)) ids += id + " ";
      if (!manager.verify().ok()) ids += "broken log ";
      if (!manager.replay({.mode = ReplayMode::check}).differences.empty()) ids += "drift ";
      return ids;
    });
  }
  void remove(const std::string& suffix) const { std::filesystem::remove(path_ + suffix); }

  /// Another whole database, closed, to be put in place of the first.
  [[nodiscard]] std::string another() const {
    const std::string path = (directory_.path() / "another.db").string();
    CacheManager({.database = path}).cache_new_cluster("another");
    return path;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager manager_{{.database = path_}};
};

TEST_F(ReplacedDatabase, DeletedWithAllItsFilesItReadsAsNone) {
  for (const char* suffix : {"", "-wal", "-shm", "-turn", "-sync", "-signal"}) remove(suffix);

  EXPECT_THAT(clusters(manager_), IsEmpty());
  EXPECT_THAT(test::names_in(directory_.path()), IsEmpty());
}

TEST_F(ReplacedDatabase, DeletedWithAllItsFilesItIsMadeAnewByTheNextWrite) {
  for (const char* suffix : {"", "-wal", "-shm", "-turn", "-sync", "-signal"}) remove(suffix);

  manager_.cache_new_cluster("new");
  manager_.cache_new_cluster("newer");

  EXPECT_THAT(clusters(manager_), ElementsAre("newer", "new"));
  EXPECT_EQ(clusters_for_a_newcomer(), "newer new ");
}

TEST_F(ReplacedDatabase, DeletedWithoutItsWalNothingIsWrittenUntilSomeoneDecides) {
  remove("");

  const auto read = test::error_of([&] { return manager_.get_all_clusters(); });
  const auto write = test::error_of([&] { return manager_.clear_cluster_cache(); });
  const auto newcomer = test::in_child([&] {
    return test::error_of([&] { return CacheManager({.database = path_}).get_all_clusters(); });
  });

  for (const std::string& error : {read, write, newcomer}) {
    EXPECT_THAT(error, HasSubstr("StorageFailure: the database " + path_ + " is gone"));
    EXPECT_THAT(error, HasSubstr("remove " + path_ + "-wal"));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ReplacedDatabase, DeletedWithoutItsWalAndPutBackNothingIsLost) {
  std::filesystem::rename(path_, path_ + ".aside");
  EXPECT_NE(test::error_of([&] { return manager_.get_all_clusters(); }), "");
  std::filesystem::rename(path_ + ".aside", path_);

  manager_.cache_new_cluster("new");

  EXPECT_THAT(clusters(manager_), ElementsAre("new", "old"));
  EXPECT_EQ(clusters_for_a_newcomer(), "new old ");
}

TEST_F(ReplacedDatabase, EmptiedBesideItsWalItIsNotTakenForNone) {
  std::filesystem::resize_file(path_, 0);

  EXPECT_THAT(test::error_of([&] { return manager_.clear_cluster_cache(); }),
              HasSubstr("is empty, but its WAL is still there"));
}

TEST_F(ReplacedDatabase, DeletedWhileAnotherProcessHasItOpenBothGoOnWithTheNewOne) {
  test::Pipe opened;
  test::Pipe go_on;
  test::Pipe written;
  test::ChildProcess other([&] {
    CacheManager manager({.database = path_});
    manager.cache_new_cluster("theirs-before");
    static_cast<void>(manager.get_all_clusters());
    opened.signal();
    go_on.wait();
    manager.cache_new_cluster("theirs-after");
    written.signal();
    go_on.wait();  // keeps its connections, until it is killed
    return 0;
  });
  ASSERT_TRUE(opened.wait());
  for (const char* suffix : {"", "-wal", "-shm"}) remove(suffix);

  manager_.cache_new_cluster("ours");
  go_on.signal();
  ASSERT_TRUE(written.wait());
  manager_.cache_new_cluster("ours-again");
  other.kill(SIGKILL);
  other.wait();

  EXPECT_THAT(clusters(manager_), ElementsAre("ours-again", "theirs-after", "ours"));
  EXPECT_EQ(clusters_for_a_newcomer(), "ours-again theirs-after ours ");
}

TEST_F(ReplacedDatabase, ReplacedTogetherWithItsSideFilesWritesGoToTheNewOne) {
  const std::string replacement = another();
  for (const char* suffix : {"-wal", "-shm"}) remove(suffix);
  std::filesystem::rename(replacement, path_);

  manager_.cache_new_cluster("new");

  EXPECT_THAT(clusters(manager_), ElementsAre("new", "another"));
  EXPECT_EQ(clusters_for_a_newcomer(), "new another ");
}

TEST_F(ReplacedDatabase, ReplacedBesideTheOldWalNothingIsWrittenUntilSomeoneDecides) {
  std::filesystem::rename(another(), path_);

  const auto read = test::error_of([&] { return manager_.get_all_clusters(); });
  const auto write = test::error_of([&] { return manager_.clear_cluster_cache(); });

  for (const std::string& error : {read, write}) {
    EXPECT_THAT(error, HasSubstr("another file was put in the place of the database " + path_));
  }
  for (const char* suffix : {"-wal", "-shm"}) remove(suffix);
  EXPECT_THAT(clusters(manager_), ElementsAre("another"));
  manager_.cache_new_cluster("new");
  EXPECT_EQ(clusters_for_a_newcomer(), "new another ");
}

TEST_F(ReplacedDatabase, ReplacedBesideTheOldWalItIsNoticedAfterAForkToo) {
  EXPECT_EQ(test::in_child([] { return std::string("forked"); }), "forked");
  std::filesystem::rename(another(), path_);

  EXPECT_THAT(test::error_of([&] { return manager_.clear_cluster_cache(); }),
              HasSubstr("another file was put in the place"));
}

TEST_F(ReplacedDatabase, ReplacedBesideTheOldWalAManagerThatHadOnlyReadNoticesToo) {
  CacheManager reader({.database = path_});
  EXPECT_THAT(clusters(reader), ElementsAre("old"));
  std::filesystem::rename(another(), path_);

  EXPECT_THAT(test::error_of([&] { return reader.clear_cluster_cache(); }),
              HasSubstr("another file was put in the place"));
}

TEST_F(ReplacedDatabase, ReplacedBesideAWalThatWasEmptyWhenItWasOpenedIsNoticedToo) {
  const std::string path = (directory_.path() / "clean.db").string();
  CacheManager({.database = path}).cache_new_cluster("old");  // closed: no WAL stays
  CacheManager manager({.database = path});
  manager.cache_new_cluster("in-the-WAL");
  std::filesystem::rename(another(), path);

  EXPECT_THAT(test::error_of([&] { return manager.clear_cluster_cache(); }),
              HasSubstr("another file was put in the place"));
}

TEST_F(ReplacedDatabase, TheDirectoryMovedAwayAndBackLosesNothing) {
  const std::string aside = directory_.path().string() + "-aside";
  std::filesystem::rename(directory_.path(), aside);
  EXPECT_THAT(clusters(manager_), IsEmpty());
  std::filesystem::rename(aside, directory_.path());

  manager_.cache_new_cluster("new");

  EXPECT_THAT(clusters(manager_), ElementsAre("new", "old"));
  EXPECT_EQ(clusters_for_a_newcomer(), "new old ");
}

TEST_F(ReplacedDatabase, AManagerOfTheOldFileIsDestroyedWithoutHarmToTheNewOne) {
  {
    CacheManager old({.database = path_});
    old.cache_new_cluster("old-too");
    static_cast<void>(old.get_all_clusters());
    for (const char* suffix : {"", "-wal", "-shm"}) remove(suffix);
    manager_.cache_new_cluster("new");
  }

  EXPECT_THAT(clusters(manager_), ElementsAre("new"));
  EXPECT_EQ(clusters_for_a_newcomer(), "new ");
}

}  // namespace
}  // namespace dbcache
