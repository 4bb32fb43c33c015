#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <unistd.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "lease_scene.hpp"
#include "store/sqlite/held_places.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "support/files.hpp"
#include "support/program.hpp"
#include "support/raw_database.hpp"

// Files that are deleted or replaced beneath those who use them, as cleaners do. (SQLite alone.)
namespace dbcache {
namespace {

using test::Actor;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LostLocks : public test::LeaseScene {
 protected:
  [[nodiscard]] std::vector<LeaseInfo> leases() const {
    return SharedClusters(options()).leases().leases;
  }
  /// By pid.
  [[nodiscard]] std::vector<std::string> judged() const {
    std::vector<std::string> words;
    for (const LeaseInfo& one : leases()) {
      words.push_back(std::to_string(one.holder.pid) + (one.holder.alive ? " alive" : " dead"));
    }
    return words;
  }
};

/// Whether another than the holder could lock a place in the file that is there now.
bool is_locked(const std::string& database, const boost::json::value& lock) {
  const int file = ::open((database + "-locks").c_str(), O_RDWR | O_CLOEXEC);
  const auto held = store::sqlite::ofd_lock_held_by_others(file, F_RDLCK, lock.to_number<off_t>());
  ::close(file);
  return held.value_or(false);
}

/// What befalls a file of locks beneath those who hold places in it.
struct Misfortune {
  std::string name;
  std::function<void(const std::string&)> befall;

  friend std::ostream& operator<<(std::ostream& out, const Misfortune& given) {
    return out << given.name;
  }
};

void copy_over(const std::string& file) {
  const std::string copy = file + ".copy";
  std::filesystem::copy_file(file, copy);
  std::filesystem::rename(copy, file);
}

class LocksBeneathAHolder : public LostLocks, public ::testing::WithParamInterface<Misfortune> {
 protected:
  /// A holder in another PID namespace, whom nobody could judge by its process. Empty where there
  /// can be none.
  Worker& start_elsewhere() {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      test::enter_pid_namespace();
      test::ChildProcess first([&] {
        const ClusterLease lease = clusters.acquire(config(), telling(actor), patient(actor));
        actor.tell_and_wait("holds");
        return 0;
      });
      first.wait();
    });
  }
  void age_the_grant() const {
    // Longer ago than one is believed who cannot be judged.
    test::run_sql(database_.location(),
                  "UPDATE leases SET granted_at = '2020-01-01T00:00:00.000000'");
  }
  std::string file_ = database_.location() + "-locks";
};

INSTANTIATE_TEST_SUITE_P(
    Misfortunes, LocksBeneathAHolder,
    ::testing::Values(
        Misfortune{"Deleted", [](const std::string& file) { std::filesystem::remove(file); }},
        Misfortune{"ReplacedByACopy", copy_over},
        Misfortune{"ReplacedByAnEmptyFile",
                   [](const std::string& file) {
                     test::write_bytes(file + ".new", "");
                     std::filesystem::rename(file + ".new", file);
                   }},
        Misfortune{"MovedAside",
                   [](const std::string& file) { std::filesystem::rename(file, file + ".old"); }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(LocksBeneathAHolder, TheHolderLivesOnAtOnceAndItsLockFollows) {
  const std::string refused = test::in_child([] { return test::enter_pid_namespace(); });
  if (!refused.empty()) GTEST_SKIP() << refused;
  Worker& holder = start_elsewhere();
  ASSERT_EQ(holder.next_of("holds"), "holds");
  const auto place = happenings().back().payload.at("holder").at("lock");
  age_the_grant();

  GetParam().befall(file_);

  EXPECT_THAT(judged(), ElementsAre("1 alive"));
  test::poll_until([&] { return is_locked(database_.location(), place); }, "the lock follows");
  EXPECT_THAT(judged(), ElementsAre("1 alive"));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(holder.finish(), 0);
  EXPECT_THAT(leases(), IsEmpty());
}

TEST_P(LocksBeneathAHolder, ADeathAfterItIsNoticed) {
  Worker& holder = start_holding(config());
  const auto place = happenings().back().payload.at("holder").at("lock");
  GetParam().befall(file_);
  EXPECT_THAT(judged(), ElementsAre(std::to_string(holder.pid()) + " alive"));
  test::poll_until([&] { return is_locked(database_.location(), place); }, "the lock follows");

  holder.kill();

  EXPECT_THAT(judged(), ElementsAre(std::to_string(holder.pid()) + " dead"));
}

TEST(OpenedLocks, AFileThatAnotherProcessIsMakingIsNew) {
  EXPECT_TRUE(store::sqlite::OpenedLocks().is_new());
}

class FilesBeneathAHolder : public LostLocks {
 protected:
  /// The file of locks looks as if it had been made when the machine was booted.
  void age_the_locks() const {
    constexpr off_t made_at = 72;  // behind its id and the boot's, as opened_locks.cpp has it
    const int file = ::open((database_.location() + "-locks").c_str(), O_WRONLY | O_CLOEXEC);
    const std::int64_t then = 0;
    EXPECT_EQ(::pwrite(file, &then, sizeof then, made_at), ssize_t{sizeof then});
    ::close(file);
  }
};

TEST_F(FilesBeneathAHolder, WhatABackupBringsBackEndsThoughItsProcessLives) {
  const test::TemporaryDirectory elsewhere;
  Worker& holder = start([&](const Actor& actor, SharedClusters& clusters) {
    std::optional<ClusterLease> lease = clusters.acquire(config(), telling(actor), patient(actor));
    const ClusterLease other =
        clusters.acquire({{"num_workers", 2}}, telling(actor), patient(actor));
    actor.tell_and_wait("holds");
    lease.reset();
    actor.tell_and_wait("let go of one");
  });
  ASSERT_EQ(holder.next_of("holds"), "holds");
  test::run_sql(database_.location(), "VACUUM INTO '" + elsewhere.database() + "'");
  holder.go();
  ASSERT_EQ(holder.next_of("let go of one"), "let go of one");
  database_.wipe();
  std::filesystem::copy_file(elsewhere.database(), database_.location());

  const std::string pid = std::to_string(holder.pid());
  EXPECT_THAT(judged(), ElementsAre(pid + " alive", pid + " alive"));
  age_the_locks();
  EXPECT_THAT(judged(), ElementsAre(pid + " dead", pid + " alive"));
  EXPECT_EQ(holder.finish(), 0);
}

/// It may be stopped, and so cannot follow.
TEST_F(FilesBeneathAHolder, AHolderThatCannotFollowLives) {
  Worker& holder = start_holding(config());
  ASSERT_EQ(::kill(holder.pid(), SIGSTOP), 0);
  std::filesystem::remove(database_.location() + "-locks");
  const std::string alive = std::to_string(holder.pid()) + " alive";
  EXPECT_THAT(judged(), ElementsAre(alive));
  age_the_locks();
  EXPECT_THAT(judged(), ElementsAre(alive));
  ASSERT_EQ(::kill(holder.pid(), SIGCONT), 0);
  EXPECT_EQ(holder.finish(), 0);
}

TEST_F(FilesBeneathAHolder, TheDirectoryMovedAwayAndBackTakesNoLock) {
  Worker& holder = start_holding(config());
  const std::string aside = database_.directory().string() + "-aside";
  std::filesystem::rename(database_.directory(), aside);
  std::filesystem::rename(aside, database_.directory());

  EXPECT_THAT(judged(), ElementsAre(std::to_string(holder.pid()) + " alive"));
  EXPECT_EQ(holder.finish(), 0);
  expect_sound();
}

TEST_F(FilesBeneathAHolder, InAnEmptiedDirectoryNothingIsMade) {
  const std::string database = (database_.directory() / "emptied" / "cache.db").string();
  std::filesystem::create_directory(database_.directory() / "emptied");

  EXPECT_EQ(test::in_child([&] {
              const auto held = std::make_shared<store::sqlite::HeldPlaces>(database);
              store::sqlite::HeldPlaces::Place place{0, 5000, true, {}};
              place.files.push_back(
                  store::sqlite::open_locks(database, 0, store::sqlite::MissingId::make));
              held->add(std::move(place));
              std::filesystem::remove(database + "-locks");
              held->follow_files();
              return std::string();
            }),
            "");

  EXPECT_TRUE(std::filesystem::is_empty(database_.directory() / "emptied"));
}

TEST_F(FilesBeneathAHolder, OtherFilesDeletedBeneathARunningProcessLoseNothing) {
  Worker& holder = start_holding(config());
  CacheManager manager(options());
  manager.cache_new_cluster("before");
  for (const char* suffix : {"-turn", "-sync", "-signal"}) {
    std::filesystem::remove(database_.location() + suffix);
    manager.cache_new_cluster("after" + std::string(suffix));
    EXPECT_EQ(
        test::in_child([&] {
          return test::error_of([&] {
            CacheManager(options()).cache_new_cluster("of-another-after" + std::string(suffix));
            return 0;
          });
        }),
        "");
  }

  EXPECT_EQ(holder.finish(), 0);
  EXPECT_EQ(manager.get_all_clusters().size(), 8U);  // the lease's cluster too
  expect_sound();
}

}  // namespace
}  // namespace dbcache
