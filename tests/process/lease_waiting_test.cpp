#include <filesystem>
#include <thread>

#include <sys/inotify.h>

#include "lease_scene.hpp"

// Waiting that comes to nothing: cancelled, timed out, or for a creator that fails; and waiting
// where signals are lost.
namespace dbcache {
namespace {

using test::Actor;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class LeaseWaiting : public test::LeaseScene {
 protected:
  /// That those who gave up left nothing, and the creator goes on.
  void expect_nothing_left_beside(Worker& creator) {
    EXPECT_THAT(log(), ElementsAre("CreationStarted"));
    const LeaseReport report = SharedClusters(options()).leases();
    ASSERT_EQ(report.leases.size(), 1U);
    EXPECT_EQ(report.leases[0].kind, LeaseInfo::Kind::creation);
    EXPECT_EQ(report.leases[0].holder.pid, creator.pid());
    EXPECT_THAT(owed(), IsEmpty());
    creator.go();
    EXPECT_THAT(creator.next(), EndsWith(" created"));
    EXPECT_EQ(creator.finish(), 0);
    expect_sound();
  }

  /// Acquires, with a `create` that throws this once told to go on.
  template <class Thrown>
  Worker& start_throwing(const Thrown& thrown, OnCreateFailure on_failure) {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      clusters.acquire(config(),
                       telling(actor,
                               [&](Creation&) -> std::string {
                                 actor.wait_for_go();
                                 throw thrown;
                               }),
                       patient(actor, {.on_create_failure = on_failure}));
    });
  }
  /// The same, with its own message.
  Worker& start_failing(const std::string& message, OnCreateFailure on_failure) {
    return start_throwing(std::runtime_error(message), on_failure);
  }

  /// A new user namespace, in which no inotify instance is to be had. What stops it, or nothing.
  static std::string do_without_inotify() {
    const std::string refused = test::enter_namespace(CLONE_NEWUSER);
    if (!refused.empty()) return refused;
    // The limit is each user namespace's own (namespaces(7), /proc/sys/user).
    if (!test::write_file("/proc/sys/user/max_inotify_instances", "0")) {
      return "the limit of inotify instances cannot be set";
    }
    const int instance = ::inotify_init1(IN_CLOEXEC);
    if (instance < 0) return "";
    ::close(instance);
    return "the limit of inotify instances is not kept";
  }
};

TEST_F(LeaseWaiting, EndsWhenItIsCancelled) {
  Worker& creator = start_creator(config());
  Worker& waiter = start([&](const Actor& actor, SharedClusters& clusters) {
    std::stop_source stop;
    std::thread stopper([&] {
      actor.wait_for_go();
      stop.request_stop();
    });
    const std::string error = test::error_of([&] {
      return clusters.acquire(config(), telling(actor), patient(actor, {.stop = stop.get_token()}));
    });
    stopper.join();
    actor.tell("error " + error);
  });
  ASSERT_THAT(waiter.next(), StartsWith("waits for creator"));

  waiter.go();

  EXPECT_THAT(waiter.next(), StartsWith("error Cancelled: "));
  EXPECT_EQ(waiter.wait(), 0);
  expect_nothing_left_beside(creator);
}

TEST_F(LeaseWaiting, EndsWhenItWasCancelledJustBefore) {
  Worker& creator = start_creator(config());
  const Worker& waiter = start([&](const Actor& actor, SharedClusters& clusters) {
    std::stop_source stop;
    AcquireOptions how{.stop = stop.get_token()};
    how.on_wait = [&](const WaitProgress&) { stop.request_stop(); };
    clusters.acquire(config(), telling(actor), how);
  });

  EXPECT_THAT(waiter.rest(), ElementsAre(StartsWith("threw Cancelled: ")));
  expect_nothing_left_beside(creator);
}

TEST_F(LeaseWaiting, IsNotBegunWhereItIsCancelledAlready) {
  const Worker& cancelled = start([&](const Actor& actor, SharedClusters& clusters) {
    std::stop_source stop;
    stop.request_stop();
    clusters.acquire(config(), telling(actor), {.stop = stop.get_token()});
  });

  EXPECT_THAT(cancelled.rest(), ElementsAre(StartsWith("threw Cancelled: ")));
  EXPECT_THAT(log(), IsEmpty());
}

TEST_F(LeaseWaiting, EndsWhenTheTimeIsOver) {
  Worker& creator = start_creator(config());
  for (const int milliseconds : {0, 1, 30}) {
    const Worker& waiter = start([&](const Actor& actor, SharedClusters& clusters) {
      clusters.acquire(config(), telling(actor),
                       {.timeout = std::chrono::milliseconds{milliseconds}});
    });
    EXPECT_THAT(
        waiter.rest(),
        ElementsAre(::testing::AllOf(
            StartsWith("threw Timeout: no cluster for '" + config_hash(config()) + "'"),
            ::testing::HasSubstr("created by the process " + std::to_string(creator.pid())))));
  }
  expect_nothing_left_beside(creator);
}

TEST_F(LeaseWaiting, OfNoTimeStillCreatesAndJoins) {
  const auto acquire_at_once = [&] {
    const Worker& worker = start([&](const Actor& actor, SharedClusters& clusters) {
      const ClusterLease lease =
          clusters.acquire(config(), telling(actor), {.timeout = std::chrono::milliseconds{0}});
      actor.tell(granted(lease));
    });
    return worker.next_of("granted");
  };

  EXPECT_THAT(acquire_at_once(), EndsWith(" created"));
  EXPECT_THAT(acquire_at_once(), EndsWith(" joined"));
}

// ---- A creator that fails

TEST_F(LeaseWaiting, ForACreatorThatFailsMakesEachTheCreatorInTurn) {
  const auto message = [](int number) { return "failure " + std::to_string(number); };
  std::vector<Worker*> all{&start_failing(message(0), OnCreateFailure::try_again)};
  const std::string first = all[0]->next_of("creates");
  for (int i = 1; i <= 4; ++i) {
    all.push_back(&start_failing(message(i), OnCreateFailure::try_again));
    EXPECT_THAT(all.back()->next(), StartsWith("waits for creator"));
  }

  // All may go on as soon as they create: who is the next is theirs to find out.
  for (const Worker* one : all) one->go();

  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<std::string> lines = all[i]->rest();
    std::erase_if(lines, [](const std::string& line) { return line.starts_with("waits"); });
    if (i > 0) {
      ASSERT_FALSE(lines.empty());
      EXPECT_EQ(lines.front(), first) << "each with the same token, once";
      lines.erase(lines.begin());
    }
    EXPECT_THAT(lines, ElementsAre("threw std::exception: " + message(static_cast<int>(i))));
  }
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0) expected.emplace_back("TerminationCancelled taken_over");
    expected.emplace_back("CreationStarted");
    expected.emplace_back("RegistryStatusChanged creating failed");
    expected.emplace_back("LeaseReleased");
    expected.emplace_back("TerminationOwed creation_failed");
  }
  EXPECT_EQ(log(), expected) << "one at a time";
  EXPECT_THAT(owed_words(), ElementsAre(token_in(first) + " creation_failed"));
  expect_sound();
}

TEST_F(LeaseWaiting, ForACreatorThatFailsEndsWithItsMessageWhereThatIsWanted) {
  Worker& creator = start_failing("no quota", OnCreateFailure::fail);
  const std::string token = token_in(creator.next_of("creates"));
  std::vector<Worker*> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(&start_failing("not to be", OnCreateFailure::fail));
    EXPECT_THAT(waiters.back()->next(), StartsWith("waits for creator"));
  }

  creator.go();

  EXPECT_THAT(creator.rest(), ElementsAre("threw std::exception: no quota"));
  for (const Worker* waiter : waiters) {
    EXPECT_THAT(waiter->rest(), ElementsAre("threw CreationFailed: no quota"));
  }
  EXPECT_THAT(log(), ElementsAre("CreationStarted", "RegistryStatusChanged creating failed",
                                 "LeaseReleased", "TerminationOwed creation_failed"));
  EXPECT_THAT(owed_words(), ElementsAre(token + " creation_failed"));
  expect_sound();
}

TEST_F(LeaseWaiting, ForACreatorThatNoOtherTryCanHelpEndsWithItsMessageWhateverIsWanted) {
  const LifecycleError for_good("no such node type", /*may_succeed_again=*/false);
  Worker& creator = start_throwing(for_good, OnCreateFailure::try_again);
  EXPECT_THAT(creator.next(), StartsWith("creates "));
  std::vector<Worker*> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(&start_failing("not to be", OnCreateFailure::try_again));
    EXPECT_THAT(waiters.back()->next(), StartsWith("waits for creator"));
  }

  creator.go();

  EXPECT_THAT(creator.rest(), ElementsAre(EndsWith(": no such node type")));
  for (const Worker* waiter : waiters) {
    EXPECT_THAT(waiter->rest(), ElementsAre("threw CreationFailed: no such node type"));
  }
  EXPECT_THAT(log(), ElementsAre("CreationStarted", "RegistryStatusChanged creating failed",
                                 "LeaseReleased", "TerminationOwed creation_failed"));
  EXPECT_TRUE(happenings()[1].payload.at("for_good").as_bool());
  const Worker& later = start_holding(config());
  later.go();
  EXPECT_EQ(count_in_log("LeaseGranted created"), 1) << "it waited for nobody";
  expect_sound();
}

TEST_F(LeaseWaiting, ForACreatorThatAnotherTryMayHelpMakesEachTheCreatorInTurn) {
  const LifecycleError for_now("no machines just now", /*may_succeed_again=*/true);
  Worker& creator = start_throwing(for_now, OnCreateFailure::try_again);
  EXPECT_THAT(creator.next(), StartsWith("creates "));
  Worker& waiter = start_holder(config());
  EXPECT_THAT(waiter.next(), StartsWith("waits for creator"));

  creator.go();

  EXPECT_THAT(waiter.next_of("granted"), EndsWith(" created"));
  EXPECT_EQ(waiter.finish(), 0);
  expect_sound();
}

TEST_F(LeaseWaiting, ForACreatorThatIsKilledGoesOnWhateverIsWantedOfFailures) {
  Worker& creator = start_creator(config());
  const auto waiters = start_waiters(2, config(), {.on_create_failure = OnCreateFailure::fail});

  creator.kill();

  std::vector<std::string> granted;
  for (const Worker* waiter : waiters) granted.push_back(waiter->next_of("granted"));
  EXPECT_THAT(granted, UnorderedElementsAre("granted " + cluster_of(token_) + " created",
                                            "granted " + cluster_of(token_) + " joined"));
  finish(waiters);
  expect_sound();
}

// ---- Signals that are lost

TEST_F(LeaseWaiting, EndsWithoutInotifyToo) {
  const std::string refused = test::in_child([] { return do_without_inotify(); });
  if (!refused.empty()) GTEST_SKIP() << refused;
  Worker& creator = start_creator(config());
  // A creation of the documented kind has no lock to wait for: its end is only a commit.
  CacheManager(options()).register_shared_cluster_creation(config_hash(config("documented")),
                                                           ::getpid());
  std::vector<Worker*> waiters;
  for (const char* name : {"one", "one", "documented"}) {
    waiters.push_back(&start([&](const Actor& actor, SharedClusters& clusters) {
      if (!do_without_inotify().empty()) return;
      hold(actor, clusters, config(name), {}, telling(actor));
    }));
    EXPECT_THAT(waiters.back()->next(), StartsWith("waits for creator"));
  }

  creator.go();
  CacheManager(options()).update_shared_cluster_status(
      config_hash(config("documented")), RegistryStatus::ready, {.cluster_id = "c-documented"});

  EXPECT_THAT(waiters[0]->next_of("granted"), EndsWith(" joined"));
  EXPECT_THAT(waiters[1]->next_of("granted"), EndsWith(" joined"));
  EXPECT_EQ(waiters[2]->next_of("granted"), "granted c-documented joined");
  finish(waiters);
  EXPECT_THAT(creator.next_of("granted"), EndsWith(" created"));
  EXPECT_EQ(creator.finish(), 0);
}

TEST_F(LeaseWaiting, EndsThoughTheSignalFileIsDeletedMeanwhile) {
  for (const bool killed : {false, true}) {
    const ClusterConfig what = config(killed ? "killed" : "finishes");
    Worker& creator = start_creator(what);
    const auto waiters = start_waiters(2, what);

    EXPECT_TRUE(std::filesystem::remove(database_.location() + "-signal"));
    if (killed) {
      creator.kill();
    } else {
      creator.go();
    }

    for (const Worker* waiter : waiters) {
      EXPECT_THAT(waiter->next_of("granted"), StartsWith("granted " + cluster_of(token_)));
    }
    finish(waiters);
    if (!killed) {
      EXPECT_EQ(creator.finish(), 0);
    }
  }
  expect_sound();
}

TEST_F(LeaseWaiting, EndsThoughOthersCommitWithoutEnd) {
  CacheManager others(options());
  others.register_shared_cluster_creation("unrelated", 1);
  const std::string documented = config_hash(config("documented"));
  others.register_shared_cluster_creation(documented, ::getpid());
  Worker& creator = start_creator(config());
  std::vector<Worker*> waiters = start_waiters(2, config());
  waiters.push_back(start_waiters(1, config("documented")).front());

  for (int i = 0; i < 100; ++i) others.increment_shared_cluster_usage("unrelated");
  creator.go();
  others.update_shared_cluster_status(documented, RegistryStatus::ready, {.cluster_id = "c-1"});

  EXPECT_THAT(creator.next_of("granted"), EndsWith(" created"));
  EXPECT_THAT(waiters[0]->next_of("granted"), EndsWith(" joined"));
  EXPECT_THAT(waiters[1]->next_of("granted"), EndsWith(" joined"));
  EXPECT_EQ(waiters[2]->next_of("granted"), "granted c-1 joined");
  EXPECT_EQ(creator.finish(), 0);
  finish(waiters);
  expect_sound();
}

TEST_F(LeaseWaiting, ForADocumentedCreationEndsWithTheCommitThatMakesItReady) {
  CacheManager documented(options());
  const std::string hash = config_hash(config());
  documented.register_shared_cluster_creation(hash, ::getpid());
  const auto waiters = start_waiters(3, config());

  documented.update_shared_cluster_status(hash, RegistryStatus::ready, {.cluster_id = "c-1"});

  for (const Worker* waiter : waiters) EXPECT_EQ(waiter->next_of("granted"), "granted c-1 joined");
  finish(waiters);
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

}  // namespace
}  // namespace dbcache
