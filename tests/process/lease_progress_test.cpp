#include <filesystem>
#include <set>

#include "lease_scene.hpp"

// What a creator tells of its cluster while it starts.
namespace dbcache {
namespace {

using test::Actor;
using test::Worker;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::StartsWith;

class LeaseProgress : public test::LeaseScene {
 protected:
  /// Tells what an acquire is told: by whom, and what the cluster is doing.
  static AcquireOptions telling_progress(const Actor& actor) {
    AcquireOptions how;
    how.timeout = std::chrono::minutes{5};
    how.on_wait = [&actor, told = std::string()](const WaitProgress& progress) mutable {
      const std::string line =
          std::string(progress.waits_for == WaitProgress::For::cluster ? "own " : "of ") +
          std::to_string(progress.holder.pid) + ": " + progress.doing;
      if (line != told) actor.tell(line);
      told = line;
    };
    return how;
  }

  /// Tells each of these while it creates, and then waits until it may go on.
  Worker& start_telling(const std::vector<std::string>& doings) {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      const auto create = [&](Creation& creation) {
        for (const std::string& doing : doings) creation.progress(doing);
        actor.tell_and_wait("blocked");
        return cluster_of(creation.idempotency_token());
      };
      ClusterLease lease =
          clusters.acquire(config(), telling(actor, create), telling_progress(actor));
      actor.tell(granted(lease));
    });
  }
  Worker& start_waiting() {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      const auto create = [&](Creation& creation) {
        actor.tell_and_wait("blocked");
        return cluster_of(creation.idempotency_token());
      };
      ClusterLease lease =
          clusters.acquire(config(), telling(actor, create), telling_progress(actor));
      actor.tell(granted(lease));
    });
  }

  /// What its own caller is told of a text.
  std::string told(const std::string& doing) {
    const Worker& creator = start_telling({doing});
    creator.go();
    const std::string line = creator.next_of("own ");
    EXPECT_THAT(creator.next_of("granted"), EndsWith(" created"));
    const auto begins = line.find(": ");
    return begins == std::string::npos ? line : line.substr(begins + 2);
  }
};

TEST_F(LeaseProgress, IsToldToTheCreatorAndToThoseWhoWait) {
  Worker& creator = start_telling({"Finding instances", "Starting Spark"});
  const std::string who = std::to_string(creator.pid());
  EXPECT_THAT(creator.next(), StartsWith("creates "));
  EXPECT_EQ(creator.next(), "own " + who + ": Finding instances");
  EXPECT_EQ(creator.next(), "own " + who + ": Starting Spark") << "at once, since it is another";
  EXPECT_EQ(creator.next(), "blocked");

  Worker& waiter = start_waiting();

  EXPECT_EQ(waiter.next(), "of " + who + ": ") << "until it looks";
  EXPECT_EQ(waiter.next(), "of " + who + ": Finding instances") << "the next in 5 s";
  EXPECT_THAT(log(), ElementsAre("CreationStarted")) << "no event stands for it";
  expect_sound();
  EXPECT_EQ(creator.finish(), 0);
  EXPECT_THAT(waiter.next_of("granted"), EndsWith(" joined"));
  EXPECT_EQ(waiter.wait(), 0);
}

TEST_F(LeaseProgress, OfACreatorThatDiedIsNotToldOfItsSuccessor) {
  Worker& creator = start_telling({"Finding instances"});
  EXPECT_EQ(creator.next_of("blocked"), "blocked");
  const std::string first = "of " + std::to_string(creator.pid()) + ": ";
  std::vector<Worker*> waiters{&start_waiting(), &start_waiting()};
  for (const Worker* waiter : waiters) {
    EXPECT_EQ(waiter->next(), first);
    EXPECT_EQ(waiter->next(), first + "Finding instances");
  }

  creator.kill();

  const std::string line = waiters[0]->next();
  if (!line.starts_with("creates ")) std::swap(waiters[0], waiters[1]);
  const std::string second = "of " + std::to_string(waiters[0]->pid()) + ": ";
  EXPECT_EQ(line.starts_with("creates ") ? waiters[1]->next() : line, second);
  waiters[0]->go();
  EXPECT_THAT(waiters[0]->next_of("granted"), EndsWith(" created"));
  EXPECT_THAT(waiters[1]->next_of("granted"), EndsWith(" joined"));
  expect_sound();
}

TEST_F(LeaseProgress, IsOneShortLineWithoutSecrets) {
  const test::ScopedVariable token("DATABRICKS_TOKEN", "dapi0123456789abcdef");

  EXPECT_EQ(told("with dapi0123456789abcdef\nand\t\x7f\xC2\x9B\x31mred"),
            "with [redacted] and   1mred");
}

TEST_F(LeaseProgress, IsCutBetweenCharacters) {
  std::string euros;
  for (int i = 0; i < 100; ++i) euros += "\xE2\x82\xAC";
  EXPECT_EQ(told(euros), euros.substr(0, 198));
}

TEST_F(LeaseProgress, MakesNoDatabaseAndFailsNoCreation) {
  const Worker& creator = start([&](const Actor& actor, SharedClusters& clusters) {
    clusters.acquire(config(), telling(actor, [&](Creation& creation) -> std::string {
                       for (const char* file : {"", "-wal", "-shm"}) {
                         std::filesystem::remove(database_.location() + file);
                       }
                       creation.progress("Finding instances");
                       actor.tell(database_.exists() ? "a database" : "no database");
                       throw std::runtime_error("its own failure");
                     }));
  });
  EXPECT_EQ(creator.next_of("no"), "no database");
  EXPECT_THAT(creator.next_of("threw"), HasSubstr("its own failure"));
}

// ---- Whose log it is

TEST_F(LeaseProgress, ACreationNamesItsLogInTheCharactersOfATag) {
  const auto owners_in = [](const Options& database) {
    SharedClusters clusters(database);
    std::set<std::string> owners;
    for (const char* name : {"one", "two"}) {
      ClusterLifecycle lifecycle;
      lifecycle.create = [&](const ClusterConfig&, Creation& creation) {
        owners.insert(creation.owner());
        return std::string("c-") + name;
      };
      clusters.acquire(config(name), lifecycle);
    }
    return owners;
  };
  const test::TestDatabase other;

  const std::set<std::string> owners = owners_in(options());

  EXPECT_THAT(owners, ElementsAre(AllOf(MatchesRegex("[a-z0-9_-]+"), SizeIs(Le(63U)))));
  EXPECT_NE(owners_in(other.options()), owners);
}

}  // namespace
}  // namespace dbcache
