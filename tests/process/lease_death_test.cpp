#include "lease_scene.hpp"
#include "support/rounds.hpp"

// Creators that are killed: with others waiting, and with nobody.
namespace dbcache {
namespace {

using test::Actor;
using test::Happening;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

int rounds_of_deaths() {
  return test::over_postgres() ? test::rounds(4, 10) : test::rounds(20, 100);
}

constexpr int all_waiters = 8;

class LeaseDeath : public test::LeaseScene {
 protected:
  /// After the death of a creator: that one of those who waited took over, with the same token and
  /// `started`, that all of them have the cluster, and that the log tells it in that order.
  void expect_takeover(const std::vector<Worker*>& waiters, const ClusterConfig& what,
                       const std::string& started = "-") {
    const std::string cluster = started == "-" ? cluster_of(token_) : started;
    std::vector<std::string> creates;
    int joined = 0;
    for (const Worker* waiter : waiters) {
      std::string line = waiter->next();
      while (line.starts_with("waits")) line = waiter->next();
      if (line.starts_with("creates")) {
        creates.push_back(line);
        EXPECT_EQ(waiter->next(), "granted " + cluster + " created");
      } else {
        EXPECT_EQ(line, "granted " + cluster + " joined");
        ++joined;
      }
    }
    EXPECT_THAT(creates, ElementsAre("creates " + token_ + " " + started));
    EXPECT_EQ(joined, static_cast<int>(waiters.size()) - 1);
    finish(waiters);
    expect_takeover_in_log(waiters.size(), what);
  }

  void expect_takeover_in_log(std::size_t waiters, const ClusterConfig& what) const {
    std::vector<Happening> told = happenings(config_hash(what));
    // `started`; and where a sweep found the dead creator before a waiter took over, it failed.
    std::erase_if(told, [](const Happening& one) {
      return one.words == "RegistryStatusChanged creating creating" ||
             one.words == "RegistryStatusChanged creating failed";
    });
    ASSERT_EQ(told.size(), 4 + 2 * waiters);
    EXPECT_EQ(told[0].words, "CreationStarted");
    EXPECT_EQ(told[1].words, "LeaseLost died");
    EXPECT_EQ(told[1].payload["lease"].as_int64(), told[0].position);
    EXPECT_EQ(told[2].words, "CreationStarted");
    EXPECT_NE(told[2].payload["holder"], told[0].payload["holder"]);
    EXPECT_EQ(told[2].payload["idempotency_token"], told[0].payload["idempotency_token"]);
    EXPECT_EQ(told[3].words, "RegistryStatusChanged creating ready");
    EXPECT_EQ(told[4].words, "LeaseGranted created");
    std::size_t leases = 0;
    for (std::size_t at = 5; at < told.size(); ++at) {
      if (told[at].words == "LeaseGranted joined") ++leases;
    }
    EXPECT_EQ(leases, waiters - 1);
  }

  void skip_without_pid_namespaces() const {
    const std::string refused = test::in_child([] { return test::enter_pid_namespace(); });
    if (!refused.empty()) GTEST_SKIP() << refused;
  }

  /// `start_creator`, or `start_holder`, in a PID namespace of its own. `inside` becomes the pid
  /// that the process has out here.
  template <class Body>
  Worker& start_in_namespace(pid_t& inside, Body body) {
    test::Pipe pid;
    Worker& worker = start([&](const Actor& actor, SharedClusters& clusters) {
      test::enter_pid_namespace();
      test::ChildProcess first([&] {
        if (::getpid() != 1) return 1;
        body(actor, clusters);
        return 0;
      });
      pid.put(first.pid());
      first.wait();
    });
    pid.close_write();
    EXPECT_TRUE(pid.get(inside));
    return worker;
  }
};

TEST_F(LeaseDeath, OfACreatorMakesOneOfThoseWhoWaitTakeOver) {
  for (int round = 0; round < rounds_of_deaths() && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const ClusterConfig what = config("round-" + std::to_string(round));
    Worker& creator = start_creator(what);
    const auto waiters = start_waiters(all_waiters, what);

    creator.kill();

    expect_takeover(waiters, what);
    workers_.clear();
  }
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseDeath, OfACreatorInAnotherPidNamespaceIsNoticed) {
  skip_without_pid_namespaces();
  if (IsSkipped()) return;
  pid_t inside = 0;
  const Worker& creator =
      start_in_namespace(inside, [&](const Actor& actor, SharedClusters& clusters) {
        hold(actor, clusters, config(), {}, telling(actor, [&](Creation&) {
               actor.tell_and_wait("blocked");
               return "";
             }));
      });
  token_ = token_in(creator.next_of("creates"));
  ASSERT_EQ(creator.next_of("blocked"), "blocked");
  const auto waiters = start_waiters(all_waiters, config());

  ::kill(inside, SIGKILL);

  expect_takeover(waiters, config());
  expect_sound();
}

TEST_F(LeaseDeath, OfACreatorIsNoticedFromAnotherPidNamespace) {
  skip_without_pid_namespaces();
  if (IsSkipped()) return;
  Worker& creator = start_creator(config());
  std::vector<Worker*> waiters;
  for (int i = 0; i < 3; ++i) {
    pid_t inside = 0;
    waiters.push_back(
        &start_in_namespace(inside, [&](const Actor& actor, SharedClusters& clusters) {
          hold(actor, clusters, config(), {}, telling(actor));
        }));
    EXPECT_EQ(waiters.back()->next_of("waits"),
              "waits for creator " + std::to_string(creator.pid()));
  }

  creator.kill();

  expect_takeover(waiters, config());
  expect_sound();
}

TEST_F(LeaseDeath, OfACreatorIsNoticedWhileItsForkedChildLivesOn) {
  test::Pipe to_child;
  test::Pipe from_child;
  Worker& creator = start_creator(config(), [&](Creation&) {
    if (::fork() > 0) return;
    // It does not die with its parent, but with the test.
    to_child.close_write();
    while (to_child.wait()) from_child.signal();
    ::_exit(0);
  });
  const auto waiters = start_waiters(all_waiters, config());

  creator.kill();

  expect_takeover(waiters, config());
  to_child.signal();
  EXPECT_TRUE(from_child.wait()) << "the child was to live on";
  to_child.close_write();
  expect_sound();
}

TEST_F(LeaseDeath, OfACreatorCountsOnceAProgramThatInheritedItsLockHasEnded) {
  test::Pipe input;
  test::Pipe pid;
  Worker& creator = start_creator(config(), [&](Creation& creation) {
    pid.put(test::spawn_with(creation.lock_descriptor(), input));
  });
  pid_t program = 0;
  ASSERT_TRUE(pid.get(program));
  const auto waiters = start_waiters(all_waiters, config());

  creator.kill_the_process();

  const Worker& impatient = start([&](const Actor& actor, SharedClusters& clusters) {
    clusters.acquire(config(), telling(actor), {.timeout = std::chrono::milliseconds{0}});
  });
  EXPECT_THAT(impatient.rest(), ElementsAre(::testing::StartsWith("threw Timeout: ")));
  EXPECT_THAT(log(), ElementsAre("CreationStarted"));

  ::kill(program, SIGKILL);

  expect_takeover(waiters, config());
  expect_sound();
}

// ---- What the dead had begun

TEST_F(LeaseDeath, AfterStartedEndsWithThatCluster) {
  Worker& creator =
      start_creator(config(), [](Creation& creation) { creation.started("c-started"); });
  const auto waiters = start_waiters(all_waiters, config());

  creator.kill();

  expect_takeover(waiters, config(), "c-started");
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(count_in_log("Termination"), 0);
  expect_sound();
}

TEST_F(LeaseDeath, AfterStartedLeavesADebtWhereAnotherClusterComesOfIt) {
  Worker& creator =
      start_creator(config(), [](Creation& creation) { creation.started("c-started"); });
  Worker& waiter = start([&](const Actor& actor, SharedClusters& clusters) {
    hold(actor, clusters, config(), {},
         telling(actor, [](Creation&) { return std::string("c-other"); }));
  });
  EXPECT_THAT(waiter.next_of("waits"), ::testing::StartsWith("waits for creator"));

  creator.kill();

  EXPECT_EQ(waiter.next_of("creates"), "creates " + token_ + " c-started");
  EXPECT_EQ(waiter.next(), "granted c-other created");
  EXPECT_THAT(owed_words(), ElementsAre("c-started superseded"));
  EXPECT_EQ(waiter.finish(), 0);
  EXPECT_THAT(settle(), ElementsAre("c-started"));
  expect_sound();
}

TEST_F(LeaseDeath, AfterStartedWithNobodyToTakeOverIsOwedByCluster) {
  Worker& creator =
      start_creator(config(), [](Creation& creation) { creation.started("c-started"); });

  creator.kill();

  const auto due = owed();
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].subject, "c-started");
  EXPECT_EQ(due[0].cluster_id, "c-started");
  EXPECT_EQ(due[0].idempotency_token, token_);
  EXPECT_EQ(due[0].config_hash, config_hash(config()));
  EXPECT_EQ(due[0].host, "https://one.example");
  EXPECT_EQ(due[0].reason, "creator_died");
  EXPECT_EQ(due[0].attempts, 0);
  expect_sound();
}

TEST_F(LeaseDeath, WithNobodyToTakeOverIsOwedByToken) {
  Worker& creator = start_creator(config());

  creator.kill();

  const auto due = owed();
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].subject, token_);
  EXPECT_EQ(due[0].cluster_id, std::nullopt);
  EXPECT_EQ(due[0].idempotency_token, token_);
  EXPECT_EQ(due[0].reason, "creator_died");
  EXPECT_THAT(settle(), ElementsAre(token_));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(
      log(),
      ElementsAre("CreationStarted", "LeaseLost died", "RegistryStatusChanged creating failed",
                  "TerminationOwed creator_died", "TerminationStarted", "TerminationDone"));
  expect_sound();
}

TEST_F(LeaseDeath, IsADebtThatALaterAcquireTakesOver) {
  for (const char* started : {"-", "c-started"}) {
    SCOPED_TRACE(started);
    const ClusterConfig what = config(started);
    Worker& creator = start_creator(what, [&](Creation& creation) {
      if (started != std::string("-")) creation.started(started);
    });
    creator.kill();
    ASSERT_EQ(owed().size(), 1U);
    forget_log();

    Worker& later = start_holder(what);

    EXPECT_EQ(later.next(), "creates " + token_ + " " + started);
    EXPECT_EQ(
        later.next(),
        "granted " + (started == std::string("-") ? cluster_of(token_) : started) + " created");
    EXPECT_THAT(owed(), IsEmpty());
    EXPECT_THAT(log(), ElementsAre("TerminationCancelled taken_over", "CreationStarted",
                                   "RegistryStatusChanged creating ready", "LeaseGranted created"));
    EXPECT_EQ(later.finish(), 0);
  }
  expect_sound();
}

TEST_F(LeaseDeath, OfACreatorWhoseDebtWasSettledIsBegunAnewWithAnotherToken) {
  start_creator(config()).kill();
  const std::string first = token_;
  ASSERT_THAT(settle(), ElementsAre(first));

  Worker& later = start_holder(config());

  EXPECT_NE(token_in(later.next_of("creates")), first);
  EXPECT_THAT(later.next(), ::testing::EndsWith(" created"));
  EXPECT_EQ(later.finish(), 0);
  expect_sound();
}

}  // namespace
}  // namespace dbcache
