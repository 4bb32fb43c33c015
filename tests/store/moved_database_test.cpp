// A database whose log was moved away refuses every change, and can be read.

#include <gmock/gmock.h>

#include "store/move_test.hpp"
#include "support/errors.hpp"

namespace dbcache::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST_P(MoveTest, TheOldDatabaseRefusesEveryChangeAndTellsWhereToGo) {
  fill(from_);
  const MoveReport moved = move(from_, to_);
  const auto before = contents_of(from_);
  CacheManager manager(from_);
  SharedClusters shared(manager);
  ClusterLifecycle lifecycle;
  bool created = false;
  lifecycle.create = [&](const ClusterConfig&, Creation&) {
    created = true;
    return std::string("c");
  };
  const std::vector<std::function<void()>> changes{
      [&] { manager.cache_new_cluster("c"); },
      [&] { manager.save_cluster_cache(manager.get_all_clusters().front()); },
      [&] { manager.update_cluster_access("cluster-2"); },
      [&] { manager.update_cluster_access("unknown"); },
      [&] { manager.cleanup_expired_clusters(); },
      [&] { manager.remove_terminated_cluster("cluster-2"); },
      [&] { manager.clear_cluster_cache(); },
      [&] { manager.register_shared_cluster_creation("h", 1); },
      [&] { manager.update_shared_cluster_status("gr\u00f6\u00dfe", RegistryStatus::failed); },
      [&] { manager.increment_shared_cluster_usage("gr\u00f6\u00dfe"); },
      [&] { manager.decrement_shared_cluster_usage("unknown"); },
      [&] { manager.cleanup_shared_cluster_registry("gr\u00f6\u00dfe"); },
      [&] { manager.clear_shared_cluster_registry(); },
      [&] { manager.replay(); },
      [&] {
        shared.acquire({{"host", "https://example.test"}}, lifecycle);
      },
      [&] {
        shared.acquire({{"num_workers", 99}}, lifecycle);
      },
      [&] { static_cast<void>(shared.join_run("nightly")); },
      [&] { shared.settle([](const Termination&) {}); }};

  for (std::size_t at = 0; at < changes.size(); ++at) {
    const std::string error = test::error_of([&] {
      changes[at]();
      return 0;
    });
    EXPECT_THAT(error, AllOf(StartsWith("DatabaseMoved: "), HasSubstr(moved.to)))
        << "change " << at;
  }

  EXPECT_FALSE(created);
  EXPECT_EQ(contents_of(from_), before);
}

TEST_P(MoveTest, TheOldDatabaseCanBeRead) {
  fill(from_);
  const MoveReport moved = move(from_, to_);
  clock_.advance(std::chrono::hours{5});  // what it cached has expired, and nobody may note it
  CacheManager manager(from_);
  SharedClusters shared(manager);

  EXPECT_THAT(manager.get_all_clusters(), SizeIs(3));
  EXPECT_THAT(manager.history(), SizeIs(static_cast<std::size_t>(moved.head.events)));
  EXPECT_TRUE(manager.verify().ok());
  EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, IsEmpty());
  EXPECT_THAT(shared.owed(), SizeIs(1));
  EXPECT_THAT(shared.leases().leases, IsEmpty());
  manager.optimize_database(Vacuum::yes);
  EXPECT_THAT(manager.get_database_info().closed.value_or(""),
              AllOf(HasSubstr(moved.from), HasSubstr(moved.to)));
}

TEST_P(MoveTest, AManagerThatWasOpenBeforeIsRefusedToo) {
  fill(from_);
  CacheManager manager(from_);
  EXPECT_TRUE(manager.load_cluster_cache().has_value());
  manager.update_cluster_access("cluster-2");

  move(from_, to_);

  EXPECT_THROW(manager.update_cluster_access("cluster-2"), DatabaseMoved);
}

}  // namespace
}  // namespace dbcache::store
