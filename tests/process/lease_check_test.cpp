#include "lease_scene.hpp"

// Whether a ready cluster still runs: who asks, what comes of the answer, and of askers that die.
namespace dbcache {
namespace {

using test::Actor;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class LeaseCheck : public test::LeaseScene {
 protected:
  using Check = std::function<bool(const std::string&)>;

  /// A ready cluster that nobody holds.
  void keep_cluster() {
    Worker& creator = start_holding(config());
    EXPECT_EQ(creator.finish(), 0);
    cluster_ =
        CacheManager(options()).get_shared_cluster_info(config_hash(config()))->cluster_id.value();
    forget_log();
  }

  static ClusterLifecycle checking(const Actor& actor, Check check) {
    ClusterLifecycle lifecycle = telling(actor);
    lifecycle.check = [&actor, check = std::move(check)](const std::string& cluster_id) {
      actor.tell("checks " + cluster_id);
      return check(cluster_id);
    };
    return lifecycle;
  }

  /// Acquires with a check that answers once the test says so, and holds.
  Worker& start_checker(bool answer) {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      hold(actor, clusters, config(), {}, checking(actor, [&](const std::string&) {
             actor.wait_for_go();
             return answer;
           }));
    });
  }

  /// Acquires with a check that says yes, which counts for an hour, and holds.
  Worker& start_counting() {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      ClusterLifecycle lifecycle = checking(actor, [](const std::string&) { return true; });
      lifecycle.check_counts_for = std::chrono::hours{1};
      hold(actor, clusters, config(), {}, lifecycle);
    });
  }

  /// Holds, and when told to, reports the cluster dead, with this check or none; then tells at each
  /// go whether its lease is lost.
  Worker& start_reporter(const Check& check) {
    Worker& reporter = start([&](const Actor& actor, SharedClusters& clusters) {
      // Joining beside a live lease asks nothing.
      const ClusterLifecycle lifecycle = check ? checking(actor, check) : telling(actor);
      ClusterLease lease = clusters.acquire(config(), lifecycle, patient(actor));
      actor.tell_and_wait(granted(lease));
      actor.tell(lease.report_dead() ? "is dead" : "is not dead");
      actor.tell_and_wait(lease.lost() ? "lost" : "not lost");
      lease.release();
    });
    EXPECT_THAT(reporter.next_of("granted"), StartsWith("granted"));
    return reporter;
  }
  /// Holds, and tells when told to whether its lease is lost.
  Worker& start_other_holder() {
    Worker& other = start([&](const Actor& actor, SharedClusters& clusters) {
      ClusterLease lease = clusters.acquire(config(), telling(actor), patient(actor));
      actor.tell_and_wait(granted(lease));
      const bool lost = lease.lost();
      actor.tell_and_wait(lost ? "lost" : "not lost");
      actor.tell(lease.release().was_held ? "released" : "had ended");
    });
    EXPECT_THAT(other.next_of("granted"), StartsWith("granted"));
    return other;
  }

  std::string cluster_;
};

TEST_F(LeaseCheck, IsMadeByOneWhileTheOthersWaitAndAllJoin) {
  keep_cluster();
  Worker& checker = start_checker(true);
  ASSERT_EQ(checker.next(), "checks " + cluster_);
  std::vector<Worker*> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(&start_checker(true));
    EXPECT_EQ(others.back()->next(), "waits for checker " + std::to_string(checker.pid()));
  }

  checker.go();

  EXPECT_EQ(checker.next(), "granted " + cluster_ + " joined");
  for (const Worker* other : others) {
    EXPECT_EQ(other->next(), "granted " + cluster_ + " joined") << "without a check of its own";
  }
  EXPECT_EQ(count_in_log("CheckStarted"), 1);
  EXPECT_THAT(log(),
              ElementsAre("CheckStarted", "CheckAnswered alive", "LeaseGranted joined",
                          "LeaseGranted joined", "LeaseGranted joined", "LeaseGranted joined"));
  EXPECT_EQ(checker.finish(), 0);
  finish(others);
  expect_sound();
}

TEST_F(LeaseCheck, OfOneThatIsKilledIsMadeByAnother) {
  keep_cluster();
  Worker& checker = start_checker(true);
  ASSERT_EQ(checker.next(), "checks " + cluster_);
  std::vector<Worker*> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(&start([&](const Actor& actor, SharedClusters& clusters) {
      hold(actor, clusters, config(), {}, checking(actor, [](const std::string&) { return true; }));
    }));
    EXPECT_EQ(others.back()->next(), "waits for checker " + std::to_string(checker.pid()));
  }

  checker.kill();

  int checks = 0;
  for (const Worker* other : others) {
    std::string line = other->next();
    while (line.starts_with("waits")) line = other->next();
    if (line == "checks " + cluster_) {
      ++checks;
      line = other->next();
    }
    EXPECT_EQ(line, "granted " + cluster_ + " joined");
  }
  EXPECT_EQ(checks, 1);
  EXPECT_THAT(log(), ElementsAre("CheckStarted", "CheckAnswered died", "CheckStarted",
                                 "CheckAnswered alive", "LeaseGranted joined",
                                 "LeaseGranted joined", "LeaseGranted joined"));
  finish(others);
  expect_sound();
}

TEST_F(LeaseCheck, ThatThrowsFailsThatAcquireAlone) {
  keep_cluster();
  Worker& throws = start([&](const Actor& actor, SharedClusters& clusters) {
    clusters.acquire(config(), checking(actor, [&](const std::string&) -> bool {
                       actor.wait_for_go();
                       throw std::runtime_error("the workspace does not answer");
                     }));
  });
  ASSERT_EQ(throws.next(), "checks " + cluster_);
  Worker& other = start([&](const Actor& actor, SharedClusters& clusters) {
    hold(actor, clusters, config(), {}, checking(actor, [](const std::string&) { return true; }));
  });
  EXPECT_THAT(other.next(), StartsWith("waits for checker"));

  throws.go();

  EXPECT_THAT(throws.rest(), ElementsAre("threw std::exception: the workspace does not answer"));
  EXPECT_EQ(other.next_of("checks"), "checks " + cluster_);
  EXPECT_EQ(other.next(), "granted " + cluster_ + " joined");
  EXPECT_THAT(log(), ElementsAre("CheckStarted", "CheckAnswered failed", "CheckStarted",
                                 "CheckAnswered alive", "LeaseGranted joined"));
  EXPECT_EQ(other.finish(), 0);
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

TEST_F(LeaseCheck, ThatSaysNoReplacesTheClusterForAllWhoWait) {
  keep_cluster();
  Worker& checker = start_checker(false);
  ASSERT_EQ(checker.next(), "checks " + cluster_);
  Worker& other = start_checker(false);
  EXPECT_THAT(other.next(), StartsWith("waits for checker"));

  checker.go();

  const std::string fresh = cluster_of(token_in(checker.next_of("creates")));
  EXPECT_NE(fresh, cluster_);
  EXPECT_EQ(checker.next(), "granted " + fresh + " created");
  EXPECT_EQ(other.next_of("granted"), "granted " + fresh + " joined");
  EXPECT_THAT(log(), ElementsAre("CheckStarted", "CheckAnswered dead", "RegistryEntryRemoved lost",
                                 "CreationStarted", "RegistryStatusChanged creating ready",
                                 "LeaseGranted created", "LeaseGranted joined"));
  EXPECT_THAT(owed(), IsEmpty()) << "a cluster found dead is not terminated";
  EXPECT_EQ(checker.finish(), 0);
  EXPECT_EQ(other.finish(), 0);
  expect_sound();
}

TEST_F(LeaseCheck, IsNotMadeWhileAReleaseCounts) {
  keep_cluster();
  for (int i = 0; i < 3; ++i) {
    Worker& worker = start_counting();
    EXPECT_EQ(worker.next(), "granted " + cluster_ + " joined");
    EXPECT_EQ(worker.finish(), 0);
  }
  EXPECT_EQ(count_in_log("CheckStarted"), 0);
  expect_sound();
}

TEST_F(LeaseCheck, IsMadeAfterAHolderDiedThoughAReleaseWouldCount) {
  keep_cluster();
  Worker& holder = start_counting();
  EXPECT_EQ(holder.next(), "granted " + cluster_ + " joined");
  holder.kill();

  Worker& worker = start_counting();
  EXPECT_EQ(worker.next_of("checks"), "checks " + cluster_);
  EXPECT_EQ(worker.next_of("granted"), "granted " + cluster_ + " joined");
  EXPECT_EQ(worker.finish(), 0);

  Worker& next = start_counting();
  EXPECT_EQ(next.next(), "granted " + cluster_ + " joined") << "the yes and the release count";
  EXPECT_EQ(next.finish(), 0);
  expect_sound();
}

TEST_F(LeaseCheck, OfAClusterThatIsReportedDeadEndsAllLeasesOnIt) {
  Worker& other = start_other_holder();
  Worker& reporter = start_reporter([](const std::string&) { return false; });
  forget_log();

  reporter.go();

  EXPECT_THAT(reporter.next(), StartsWith("checks "));
  EXPECT_EQ(reporter.next(), "is dead");
  EXPECT_EQ(reporter.next(), "lost");
  other.go();
  EXPECT_EQ(other.next(), "lost");
  EXPECT_THAT(log(), ElementsAre("CheckStarted", "CheckAnswered dead", "LeaseLost cluster_lost",
                                 "LeaseLost cluster_lost", "RegistryEntryRemoved lost"));
  EXPECT_THAT(owed(), IsEmpty());
  other.go();
  EXPECT_EQ(other.next(), "had ended");
  EXPECT_EQ(reporter.finish(), 0);
  expect_sound();
}

TEST_F(LeaseCheck, OfAClusterThatIsReportedDeadAndLivesChangesNothing) {
  Worker& other = start_other_holder();
  Worker& reporter = start_reporter([](const std::string&) { return true; });
  forget_log();

  reporter.go();

  EXPECT_THAT(reporter.next(), StartsWith("checks "));
  EXPECT_EQ(reporter.next(), "is not dead");
  EXPECT_EQ(reporter.next(), "not lost");
  other.go();
  EXPECT_EQ(other.next(), "not lost");
  EXPECT_THAT(log(), ElementsAre("CheckStarted", "CheckAnswered alive"));
  EXPECT_EQ(reporter.finish(), 0);
  EXPECT_EQ(other.finish(), 0);
  expect_sound();
}

TEST_F(LeaseCheck, IsNotNeededToBelieveAReport) {
  Worker& other = start_other_holder();
  Worker& reporter = start_reporter({});
  const std::string dead =
      CacheManager(options()).get_shared_cluster_info(config_hash(config()))->cluster_id.value();

  reporter.go();

  EXPECT_EQ(reporter.next(), "is dead");
  EXPECT_EQ(reporter.next(), "lost");
  other.go();
  EXPECT_EQ(other.next(), "lost");
  EXPECT_THAT(owed_words(), ElementsAre(dead + " reported_dead"));
  Worker& next = start_holder(config());
  EXPECT_NE(cluster_of(token_in(next.next_of("creates"))), dead);
  EXPECT_EQ(next.finish(), 0);
  EXPECT_EQ(other.finish(), 0);
  EXPECT_EQ(reporter.finish(), 0);
  expect_sound();
}

TEST_F(LeaseCheck, OfAReporterThatIsKilledIsNotWaitedFor) {
  Worker& doomed = start([&](const Actor& actor, SharedClusters& clusters) {
    ClusterLease lease = clusters.acquire(config(),
                                          checking(actor,
                                                   [&](const std::string&) {
                                                     actor.wait_for_go();
                                                     return false;
                                                   }),
                                          patient(actor));
    lease.report_dead();
  });
  EXPECT_THAT(doomed.next_of("checks"), StartsWith("checks"));
  Worker& second = start_reporter([](const std::string&) { return true; });
  second.go();  // it waits for the answer to the check that is under way

  doomed.kill();

  EXPECT_THAT(second.next(), StartsWith("checks "));
  EXPECT_EQ(second.next(), "is not dead");
  EXPECT_EQ(count_in_log("CheckAnswered died"), 1);
  EXPECT_EQ(second.finish(), 0);
  expect_sound();
}

}  // namespace
}  // namespace dbcache
