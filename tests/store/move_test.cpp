// The log, and all that it says, goes from one database to another and back.

#include <random>
#include <unistd.h>

#include <gmock/gmock.h>

#include "store/chain.hpp"
#include "store/move_contract.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/python_database.hpp"
#include "support/raw_database.hpp"

namespace dbcache::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class MoveTest : public MoveContract {};

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

TEST_P(MoveTest, WhateverIsDoneMovesAndGoesOnThere) {
  std::mt19937_64 random(20'260'116);
  const auto below = [&](std::uint64_t count) { return random() % count; };
  const auto play = [&](const Options& options) {
    CacheManager manager(options);
    SharedClusters shared(manager);
    for (int step = 0; step < 150; ++step) {
      clock_.advance(std::chrono::seconds(below(300)));
      const std::string id = "c-" + std::to_string(below(4));
      const std::string hash = "h-" + std::to_string(below(3));
      const ClusterConfig config{{"host", "https://example.test"},
                                 {"num_workers", static_cast<std::int64_t>(below(3))}};
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
      static_cast<void>(test::error_of([&] {
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
            shared.acquire(config, lifecycle, policy).release();
        }
        return 0;
      }));
    }
    manager.clear_shared_cluster_registry();  // no creator of the documented kind may live
    manager.register_shared_cluster_creation("h", 1);
    manager.update_shared_cluster_status("h", RegistryStatus::failed);
  };
  Options here = from_;
  Options there = to_;
  for (int round = 0; round < 4; ++round, std::swap(here, there)) {
    play(here);
    move(here, there, 1 + below(40));
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

// ---- What a closed database says and does

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

// ---- What is refused

TEST_P(MoveTest, IsRefusedWhileALeaseLives) {
  fill(from_);
  SharedClusters shared(from_);
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
  ClusterLease lease = shared.acquire({{"num_workers", 3}}, lifecycle);
  const auto before = contents_of(from_);

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "),
                    HasSubstr("lease " + std::to_string(lease.fencing_token()) + " on c (pid ")));

  EXPECT_EQ(contents_of(from_), before);
  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_TRUE(to_place_->is_untouched());
  lease.release();
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedUntilADeadlineHasPassed) {
  SharedClusters shared(from_);
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
  shared.acquire({{"num_workers", 3}}, lifecycle).hold_for(std::chrono::minutes{5});

  EXPECT_THAT(error_of_moving(from_, to_), StartsWith("Busy: "));

  clock_.advance(std::chrono::minutes{6});
  move(from_, to_);
  EXPECT_EQ(CacheManager(to_).history({.types = {"LeaseLost"}}).size(), 1U);
}

TEST_P(MoveTest, IsRefusedWhileSomeoneTakesPartInARun) {
  SharedClusters shared(from_);
  RunMembership member = shared.join_run("nightly");

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "), HasSubstr("a participant of the run nightly")));

  member.leave();
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedWhileAClusterIsCreatedCheckedOrTerminated) {
  SharedClusters shared(from_);
  std::vector<std::string> errors;
  const auto attempt = [&] { errors.push_back(error_of_moving(from_, to_)); };
  ClusterLifecycle lifecycle;
  lifecycle.create = [&](const ClusterConfig&, Creation&) {
    attempt();
    return std::string("c");
  };
  lifecycle.check = [&](const std::string&) {
    attempt();
    return true;
  };
  AcquireOptions hand_back;
  hand_back.policy = HandBackPolicy::hand_back;

  shared.acquire({}, lifecycle).release();
  shared.acquire({}, lifecycle, hand_back).release();
  shared.settle([&](const Termination&) { attempt(); });

  ASSERT_THAT(errors, SizeIs(3));
  EXPECT_THAT(errors[0], AllOf(StartsWith("Busy: "), HasSubstr("creation ")));
  EXPECT_THAT(errors[1], AllOf(StartsWith("Busy: "), HasSubstr("check ")));
  EXPECT_THAT(errors[2], AllOf(StartsWith("Busy: "), HasSubstr("the termination of c ")));
  move(from_, to_);
}

TEST_P(MoveTest, IsRefusedWhileARegisteredWorkerCreates) {
  CacheManager manager(from_);
  manager.register_shared_cluster_creation("h", ::getpid());

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("Busy: "), HasSubstr("the creation of 'h' (pid ")));

  manager.update_shared_cluster_status("h", RegistryStatus::ready, {.cluster_id = "c"});
  move(from_, to_);
}

TEST_P(MoveTest, TheDeadHoldNothingUp) {
  test::ChildProcess([&] {
    SharedClusters shared(from_);
    ClusterLifecycle lifecycle;
    lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c"); };
    const ClusterLease lease = shared.acquire({}, lifecycle);
    const RunMembership member = shared.join_run("nightly");
    ::_exit(0);
    return 0;
  }).wait();
  // Where a lock that is gone may be of a session that was lost, they have a while to show up.
  if (!error_of_moving(from_, to_).empty()) {
    from_place_->end_grace();
    move(from_, to_);
  }

  const CacheManager manager(to_);
  EXPECT_THAT(manager.history({.types = {"LeaseLost", "RunLeft"}}), SizeIs(2));
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

TEST_P(MoveTest, NamesAFewOfManyHolders) {
  SharedClusters shared(from_);
  std::vector<RunMembership> members;
  for (int i = 0; i < 5; ++i) members.push_back(shared.join_run("nightly"));

  EXPECT_THAT(error_of_moving(from_, to_), HasSubstr(" and 2 more; "));
}

TEST_P(MoveTest, ADatabaseThatIsNotEmptyIsNoTarget) {
  fill(from_);
  CacheManager(to_).cache_new_cluster("mine");
  const auto before = contents_of(to_);

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("is not empty")));

  EXPECT_EQ(contents_of(to_), before);
  EXPECT_EQ(closed(to_), std::nullopt);
  EXPECT_EQ(closed(from_), std::nullopt);
}

TEST_P(MoveTest, ADatabaseIsNotMovedToItself) {
  fill(from_);

  EXPECT_THAT(error_of_moving(from_, from_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("are the same database")));

  EXPECT_EQ(closed(from_), std::nullopt);
}

TEST_P(MoveTest, AMissingDatabaseIsNotMoved) {
  EXPECT_THAT(error_of_moving(from_, to_), StartsWith("NotFound: there is no database "));

  EXPECT_TRUE(from_place_->is_untouched());
  EXPECT_TRUE(to_place_->is_untouched());
}

TEST_P(MoveTest, WhatWasMovedIsNotMovedElsewhere) {
  fill(from_);
  const MoveReport moved = move(from_, to_);
  const auto third = std::get<1>(GetParam()).new_place();

  EXPECT_THAT(error_of_moving(from_, at(*third)),
              AllOf(StartsWith("DatabaseMoved: "), HasSubstr(moved.to)));

  EXPECT_TRUE(third->is_untouched());
}

TEST_P(MoveTest, ADatabaseThatWasMovedIsNoTargetForOthers) {
  fill(from_);
  move(from_, to_);
  const auto third = std::get<1>(GetParam()).new_place();
  fill(at(*third));

  EXPECT_THAT(error_of_moving(at(*third), from_), StartsWith("DatabaseMoved: "));

  EXPECT_EQ(closed(at(*third)), std::nullopt);
}

TEST_P(MoveTest, TablesThatDifferFromTheLogAreNotMoved) {
  fill(from_);
  write(Store(from_).engine(), [](WriteSession& session) {
    session.tables.change_cluster("cluster-2", [](CachedCluster& row) { row.access_count = 99; });
  });

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("`dbcache replay`")));
  EXPECT_EQ(closed(from_), std::nullopt);

  CacheManager(from_).replay();
  move(from_, to_);
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

// ---- Moves that end before their end

class InterruptedMove : public MoveContract {
 protected:
  InterruptedMove() { fill(from_); }

  struct Interrupted {};

  /// Ends the move after so many transactions.
  void interrupt(int after) const {
    Store source(from_);
    Store target(to_);
    const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                          if (--after == 0) throw Interrupted{};
                                        }};
    EXPECT_THROW(coordination::move(source, target, {}, steps), Interrupted);
  }
  /// How many a move has: two to close, the pages, the tables, one to give up and one to open.
  [[nodiscard]] int transactions() const {
    return 2 + static_cast<int>((CacheManager(from_).get_database_info().events + 9) / 10) + 3;
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, InterruptedMove, engine_pairs(), pair_name);

TEST_P(InterruptedMove, NeverLeavesBothDatabasesOpenAndCanAlwaysBeGoneOnWith) {
  const int all = transactions();
  for (int after = 1; after <= all; ++after) {
    begin_anew();
    fill(from_);
    const auto before = contents_of(from_);

    interrupt(after);

    EXPECT_NE(closed(from_), std::nullopt) << after;
    EXPECT_EQ(closed(to_).has_value(), after > 1 && after < all) << after;
    EXPECT_EQ(move(from_, to_).was_moved_before, after == all) << after;
    EXPECT_EQ(contents_of(to_), before) << after;
    EXPECT_EQ(closed(to_), std::nullopt) << after;
  }
}

TEST_P(InterruptedMove, GoesOnWhereItWas) {
  const auto before = contents_of(from_);
  interrupt(3);  // both closed, and a page copied

  const MoveReport report = move(from_, to_);

  EXPECT_EQ(report.copied, report.head.events - 10);
  EXPECT_EQ(contents_of(to_), before);
}

TEST_P(InterruptedMove, ClosedDatabasesSayWhatToDo) {
  interrupt(3);

  EXPECT_THAT(closed(from_).value(), AllOf(HasSubstr("is being moved to"), HasSubstr("--cancel")));
  EXPECT_THAT(closed(to_).value(), HasSubstr("is being moved into it"));
  EXPECT_THAT(error_of_moving(to_, from_), StartsWith("DatabaseMoved: "));
}

TEST_P(InterruptedMove, GoesNowhereElse) {
  interrupt(3);
  const auto third = std::get<1>(GetParam()).new_place();

  EXPECT_THAT(error_of_moving(from_, at(*third)), StartsWith("DatabaseMoved: "));

  EXPECT_TRUE(third->is_untouched());
}

TEST_P(InterruptedMove, CanBeCancelled) {
  interrupt(3);

  EXPECT_TRUE(dbcache::cancel_move(from_));

  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_NE(closed(to_), std::nullopt);
  CacheManager(from_).cache_new_cluster("cluster-3");
  EXPECT_FALSE(dbcache::cancel_move(from_));
  // And gone on with later, from where it was.
  move(from_, to_);
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

TEST_P(InterruptedMove, CanBeCancelledUntilTheOldDatabaseIsGivenUp) {
  interrupt(transactions() - 2);
  EXPECT_TRUE(dbcache::cancel_move(from_));
  interrupt(4);  // closed again, its tables written, given up

  EXPECT_THAT(test::error_of([&] { return dbcache::cancel_move(from_); }),
              StartsWith("DatabaseMoved: "));

  EXPECT_NE(closed(to_), std::nullopt);
  EXPECT_FALSE(move(from_, to_).was_moved_before);
  EXPECT_EQ(closed(to_), std::nullopt);
}

TEST_P(InterruptedMove, CancelledBehindItsBackItDoesNotGiveTheOldDatabaseUp) {
  Store source(from_);
  Store target(to_);
  int committed = 0;
  const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                        if (++committed == 3) coordination::cancel_move(source);
                                      }};

  EXPECT_THAT(test::error_of([&] { return coordination::move(source, target, {}, steps); }),
              AllOf(StartsWith("Busy: "), HasSubstr("was cancelled")));

  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_NE(closed(to_), std::nullopt);
}

TEST_P(InterruptedMove, TwoThatRunAtOnceComeToTheSame) {
  const int all = transactions();
  for (int when = 1; when <= all; ++when) {
    begin_anew();
    fill(from_);
    const auto before = contents_of(from_);
    Store source(from_);
    Store target(to_);
    int committed = 0;
    // One has its way in the middle of the other.
    const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                          if (++committed == when) move(from_, to_);
                                        }};

    const std::string error =
        test::error_of([&] { return coordination::move(source, target, {}, steps); });

    EXPECT_THAT(error, ::testing::AnyOf("", StartsWith("Busy: "))) << when;
    EXPECT_TRUE(move(from_, to_).was_moved_before) << when;
    EXPECT_EQ(contents_of(to_), before) << when;
  }
}

TEST_P(InterruptedMove, ATargetWithEventsOfItsOwnIsNotGoneOnWith) {
  interrupt(3);
  write(Store(to_).engine(), [](WriteSession& session) {
    const auto closed = session.log.closed();
    session.log.open();
    session.log.append(record(session.log.last_position() + 1, "registry-h", 1));
    session.log.close(closed.value());
  });

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("does not have")));
}

TEST_P(InterruptedMove, ATargetThatIsLostAfterwardsIsNotMadeAnew) {
  move(from_, to_);
  const auto before = contents_of(from_);
  to_place_ = nullptr;

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("restore ")));

  EXPECT_EQ(contents_of(from_), before);
}

// ---- On SQLite alone

TEST(MoveOfSqlite, ALinkToADatabaseIsTheSameDatabase) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string path = directory.database();
  fill({.database = path});
  const std::string link = (directory.path() / "link.db").string();
  const std::string hard_link = (directory.path() / "hard.db").string();
  std::filesystem::create_symlink(path, link);
  std::filesystem::create_hard_link(path, hard_link);

  for (const std::string& other : {link, hard_link}) {
    EXPECT_THAT(test::error_of([&] { return move_log({.database = path}, {.database = other}); }),
                HasSubstr("are the same database"));
  }

  EXPECT_FALSE(std::filesystem::exists(hard_link + "-wal"));
}

TEST(MoveOfSqlite, ThePythonSystemsDatabaseIsNoTargetAndNotAdopted) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  const std::string to = (directory.path() / "python.db").string();
  fill({.database = from});
  test::make_python_database(to);

  EXPECT_THAT(test::error_of([&] { return move_log({.database = from}, {.database = to}); }),
              StartsWith("InvalidArgument: "));

  EXPECT_EQ(test::query_text(to, "SELECT count(*) FROM sqlite_master WHERE name = 'events'"), "0");
  EXPECT_EQ(CacheManager({.database = from}).get_database_info().closed, std::nullopt);
}

TEST(MoveOfSqlite, ThePythonSystemsDatabaseIsAdoptedAndMoved) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  const std::string to = (directory.path() / "moved.db").string();
  test::make_python_database(from);

  const MoveReport report = move_log({.database = from}, {.database = to});

  EXPECT_EQ(report.copied, 4);
  EXPECT_EQ(contents_of({.database = to}), contents_of({.database = from}));
}

TEST(MoveOfSqlite, AClosedLogRefusesThoseWhoWriteItByHand) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  fill({.database = from});
  move_log({.database = from}, {.database = (directory.path() / "it's.db").string()});

  EXPECT_THAT(test::error_of([&] {
                test::run_sql(from,
                              "INSERT OR IGNORE INTO events "
                              "VALUES (99, 's', 1, 't', '{}', '{}', 0, x'00', x'00')");
                return 0;
              }),
              HasSubstr("its log was moved to " + (directory.path() / "it's.db").string()));
}

TEST(MoveOfSqlite, AnAlteredLogIsNotMoved) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string from = directory.database();
  fill({.database = from});
  test::drop_triggers(from);
  test::run_sql(from, "UPDATE events SET metadata = '{}' WHERE position = 2");

  EXPECT_THAT(test::error_of([&] {
                return move_log({.database = from},
                                {.database = (directory.path() / "to.db").string()});
              }),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("`dbcache verify`")));

  EXPECT_EQ(CacheManager({.database = from}).get_database_info().closed, std::nullopt);
}

}  // namespace
}  // namespace dbcache::store
