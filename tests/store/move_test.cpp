// The log, and all that it says, goes from one database to another and back.

#include "store/move_test.hpp"

#include <random>

#include <gmock/gmock.h>

#include "store/chain.hpp"
#include "support/errors.hpp"
#include "support/manual_clock.hpp"
#include "support/rounds.hpp"

namespace dbcache::store {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(Engines, MoveTest, engine_pairs(), pair_name);

TEST_P(MoveTest, EveryEventAndEveryRowIsTheSameThere) {
  fill(from_);
  const auto before = contents_of(from_);

  const MoveReport report = move(from_, to_);

  EXPECT_EQ(contents_of(to_), before);
  EXPECT_EQ(contents_of(from_), before);
  EXPECT_FALSE(report.was_moved_before);
  EXPECT_EQ(report.copied, report.head.events);
  EXPECT_EQ(report.head, CacheManager(from_).verify().head);
  EXPECT_EQ(report.head, CacheManager(to_).verify().head);
}

TEST_P(MoveTest, ThereTheLogGoesOn) {
  fill(from_);
  move(from_, to_);
  CacheManager manager(to_);

  manager.cache_new_cluster("cluster-3");
  SharedClusters shared(manager);
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) -> std::string { throw Timeout("no"); };
  EXPECT_EQ(shared.acquire({{"host", "https://example.test"}}, lifecycle).cluster_id(), "leased-1");

  EXPECT_TRUE(manager.verify().ok());
  EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, IsEmpty());
  EXPECT_THAT(shared.settle([](const Termination&) {}).settled, SizeIs(1));
}

TEST_P(MoveTest, ThereAndBackIntoWhereItCameFrom) {
  fill(from_);
  const MoveReport there = move(from_, to_);
  CacheManager(to_).cache_new_cluster("cluster-3");
  const auto before = contents_of(to_);

  const MoveReport back = move(to_, from_);

  EXPECT_EQ(back.copied, back.head.events - there.head.events);
  EXPECT_EQ(contents_of(from_), before);
  CacheManager(from_).cache_new_cluster("cluster-4");
  EXPECT_THAT(test::error_of([&] { return CacheManager(to_).clear_cluster_cache(); }),
              StartsWith("DatabaseMoved: "));
  EXPECT_TRUE(CacheManager(from_).verify().ok());
}

TEST_P(MoveTest, ThereAndBackIntoANewDatabase) {
  fill(from_);
  const auto before = contents_of(from_);
  const auto third = std::get<0>(GetParam()).new_place();
  move(from_, to_);

  move(to_, at(*third));

  EXPECT_EQ(contents_of(at(*third)), before);
  EXPECT_EQ(closed(at(*third)), std::nullopt);
}

/// Plays random calls against a database, and leaves nobody who holds anything.
class RandomCalls {
 public:
  explicit RandomCalls(test::ManualClock& clock) : clock_(clock) {}

  std::uint64_t below(std::uint64_t count) { return random_() % count; }

  void play(const Options& options) {
    CacheManager manager(options);
    SharedClusters shared(manager);
    for (int step = 0; step < 150; ++step) {
      clock_.advance(std::chrono::seconds(below(300)));
      static_cast<void>(test::error_of([&] {
        call(manager, shared);
        return 0;
      }));
    }
    manager.clear_shared_cluster_registry();  // no creator of the documented kind may live
    manager.register_shared_cluster_creation("h", 1);
    manager.update_shared_cluster_status("h", RegistryStatus::failed);
  }

 private:
  void call(CacheManager& manager, SharedClusters& shared) {
    const std::string id = "c-" + std::to_string(below(4));
    const std::string hash = "h-" + std::to_string(below(3));
    const ClusterConfig config{{"host", "https://example.test"},
                               {"num_workers", static_cast<std::int64_t>(below(3))}};
    switch (below(9)) {
      case 0:
        manager.cache_new_cluster(id, config);
        break;
      case 1:
        manager.update_cluster_access(id);
        break;
      case 2:
        manager.register_shared_cluster_creation(hash, 1);
        break;
      case 3:
        manager.update_shared_cluster_status(
            hash, below(2) == 0 ? RegistryStatus::ready : RegistryStatus::failed,
            {.cluster_id = id});
        break;
      case 4:
        manager.increment_shared_cluster_usage(hash);
        break;
      case 5:
        manager.decrement_shared_cluster_usage(hash);
        break;
      case 6:
        manager.cleanup_expired_clusters();
        break;
      case 7:
        shared.settle([&](const Termination&) {
          if (below(2) == 0) throw std::runtime_error("403");
        });
        break;
      default:
        acquire_and_release(shared, config);
    }
  }

  void acquire_and_release(SharedClusters& shared, const ClusterConfig& config) {
    AcquireOptions policy;
    policy.policy = below(2) == 0 ? HandBackPolicy::hand_back : HandBackPolicy::keep;
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation& creation) {
      const std::string made = "made-" + std::to_string(below(1000));
      if (below(2) == 0) creation.started(made);
      if (below(3) == 0) throw std::runtime_error("no quota");
      return made;
    };
    if (below(2) == 0) lifecycle.check = [&](const std::string&) { return below(2) == 0; };
    shared.acquire(config, lifecycle, policy).release();
  }

  std::mt19937_64 random_{20'260'116};
  test::ManualClock& clock_;
};

TEST_P(MoveTest, WhateverIsDoneMovesAndGoesOnThere) {
  RandomCalls calls(clock_);
  Options here = from_;
  Options there = to_;
  const int rounds = test::rounds(2, 4);
  for (int round = 0; round < rounds; ++round, std::swap(here, there)) {
    calls.play(here);
    move(here, there, 1 + calls.below(40));
    ASSERT_EQ(contents_of(there), contents_of(here)) << "in round " << round;
    ASSERT_TRUE(CacheManager(there).verify().ok());
    ASSERT_THAT(CacheManager(there).replay({.mode = ReplayMode::check}).differences, IsEmpty());
  }
}

TEST_P(MoveTest, AnEmptyLogIsMovedToo) {
  write(Store(from_).engine(), [](WriteSession&) {});

  const MoveReport report = move(from_, to_);

  EXPECT_EQ(report.head.events, 0);
  EXPECT_NE(closed(from_), std::nullopt);
  EXPECT_EQ(closed(to_), std::nullopt);
  EXPECT_TRUE(move(from_, to_).was_moved_before);
}

TEST_P(MoveTest, ALogWithGapsMovesAsItIs) {
  {
    const Store store(from_);
    write(store.engine(), [](WriteSession& session) {
      session.log.set_gaps_until(20);
      std::string before;
      for (const std::int64_t position : {3, 4, 20}) {
        EventRecord event = record(position, "registry-h", 1);
        event.version = position == 3 ? 1 : position == 4 ? 2 : 3;
        event.payload = R"({"schema":1,"config_hash":"h","usage_count":1})";
        event.hash = chain_hash(event, before);
        before = event.hash;
        session.log.append(event);
      }
    });
  }
  CacheManager(from_).register_shared_cluster_creation("h", 1);
  CacheManager(from_).update_shared_cluster_status("h", RegistryStatus::failed);
  const auto before = contents_of(from_);

  move(from_, to_);

  EXPECT_EQ(contents_of(to_), before);
  CacheManager manager(to_);
  manager.increment_shared_cluster_usage("h");
  EXPECT_TRUE(manager.verify().ok());
  EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, IsEmpty());
}

TEST_P(MoveTest, ManyPagesAreReportedOnTheWay) {
  fill(from_);
  Store source(from_);
  Store target(to_);
  std::vector<std::int64_t> done;
  MoveOptions options;
  options.on_progress = [&](const LogProgress& progress) { done.push_back(progress.events_done); };

  const MoveReport report = coordination::move(source, target, options, {.page = 5});

  // Checked, in the pages of a replay; copied; and the copy checked.
  const std::int64_t all = report.head.events;
  std::vector<std::int64_t> expected{all};
  for (int pass = 0; pass < 2; ++pass) {
    for (std::int64_t at = 5; at < all + 5; at += 5) expected.push_back(std::min(at, all));
  }
  EXPECT_EQ(done, expected);
}

}  // namespace
}  // namespace dbcache::store
