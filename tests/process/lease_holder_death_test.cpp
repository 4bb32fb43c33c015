#include <filesystem>
#include <fstream>

#include <dbcache/shared_clusters.hpp>

#include "lease_scene.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/store.hpp"
#include "support/files.hpp"
#include "support/raw_database.hpp"
#include "system/descriptor.hpp"
#include "system/process.hpp"

// Holders and terminators that are killed, everyone at once, and a file of locks that is gone.
namespace dbcache {
namespace {

using test::Actor;
using test::Worker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class HolderDeath : public test::LeaseScene {
 protected:
  static AcquireOptions handing_back() { return {.policy = HandBackPolicy::hand_back}; }

  /// A process that is in the middle of `terminate` when this returns, after `first`.
  Worker& start_terminator(const std::function<void(const Termination&)>& first = {}) {
    Worker& terminator = start([&](const Actor& actor, SharedClusters& clusters) {
      ClusterLifecycle lifecycle = telling(actor);
      lifecycle.terminate = [&](const Termination& termination) {
        if (first) first(termination);
        actor.tell_and_wait("terminates " + termination.owed.subject);
      };
      ClusterLease lease = clusters.acquire(config(), lifecycle, patient(actor, handing_back()));
      const ReleaseReport report = lease.release();
      actor.tell(report.settled ? "settled" : "not settled");
    });
    token_ = token_in(terminator.next_of("creates"));
    EXPECT_EQ(terminator.next_of("terminates"), "terminates " + cluster_of(token_));
    return terminator;
  }

  /// Acquires with a check that stops in its middle.
  static ClusterLease acquire_checking(const Actor& actor, SharedClusters& clusters,
                                       const ClusterConfig& what) {
    ClusterLifecycle lifecycle = telling(actor);
    lifecycle.check = [&actor](const std::string&) {
      actor.tell_and_wait("checks");
      return true;
    };
    return clusters.acquire(what, lifecycle, patient(actor));
  }

  /// One process that checks a cluster that nobody holds, and one that waits for the answer.
  void start_checkers() {
    EXPECT_EQ(start_holding(config("checked")).finish(), 0);
    for (const char* begins : {"checks", "waits for checker"}) {
      Worker& worker = start([](const Actor& actor, SharedClusters& clusters) {
        acquire_checking(actor, clusters, config("checked"));
      });
      EXPECT_THAT(worker.next(), StartsWith(begins));
    }
  }

  /// A process that checks a cluster that it holds.
  void start_reporter() {
    Worker& reporter = start([](const Actor& actor, SharedClusters& clusters) {
      acquire_checking(actor, clusters, config("reported")).report_dead();
    });
    EXPECT_EQ(reporter.next_of("checks"), "checks");
  }

  /// A process whose run keeps a cluster that the process has let go of already. The cluster.
  std::string start_participant() {
    Worker& participant = start([](const Actor& actor, SharedClusters& clusters) {
      const RunMembership membership = clusters.join_run("r");
      AcquireOptions how = patient(actor, handing_back());
      how.run = "r";
      clusters.acquire(config("of-run"), telling(actor), how).release();
      actor.tell_and_wait("takes part");
    });
    std::string cluster = cluster_of(token_in(participant.next_of("creates")));
    EXPECT_EQ(participant.next(), "takes part");
    return cluster;
  }

  void expect_nothing_held() const {
    const LeaseReport left = SharedClusters(options()).leases();
    EXPECT_THAT(left.leases, IsEmpty());
    EXPECT_THAT(left.participants, IsEmpty());
    for (const auto& entry : CacheManager(options()).get_all_shared_clusters()) {
      EXPECT_EQ(entry.usage_count, 0) << entry.config_hash;
      EXPECT_NE(entry.status, RegistryStatus::creating) << entry.config_hash;
    }
  }

  [[nodiscard]] std::vector<LeaseInfo> leases() const {
    return SharedClusters(options()).leases().leases;
  }
};

// ---- Holders

TEST_F(HolderDeath, IsSeenAtOnceAndNotedByTheNextAcquire) {
  Worker& doomed = start_holding(config());
  ASSERT_THAT(leases(), ::testing::SizeIs(1));
  EXPECT_TRUE(leases().front().holder.alive);
  const std::int64_t lease = leases().front().lease;

  doomed.kill();

  EXPECT_FALSE(leases().front().holder.alive);
  forget_log();
  Worker& next = start_holding(config());
  const auto told = happenings();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].words, "LeaseLost died");
  EXPECT_EQ(told[0].payload.at("lease").as_int64(), lease);
  EXPECT_EQ(told[0].payload.at("usage_count").as_int64(), 0);
  EXPECT_EQ(told[1].words, "LeaseGranted joined");
  EXPECT_EQ(next.finish(), 0);
  expect_sound();
}

TEST_F(HolderDeath, IsNotedByTheNextRelease) {
  Worker& stays = start_holding(config());
  Worker& doomed = start_holding(config());
  doomed.kill();
  forget_log();

  EXPECT_EQ(stays.finish(), 0);

  EXPECT_THAT(log(), ElementsAre("LeaseLost died", "LeaseReleased"));
  expect_sound();
}

TEST_F(HolderDeath, IsNotedByOwed) {
  start_holding(config()).kill();
  forget_log();

  EXPECT_THAT(owed(), IsEmpty()) << "the cluster is kept";

  EXPECT_THAT(log(), ElementsAre("LeaseLost died"));
  EXPECT_THAT(leases(), IsEmpty());
  const auto entry = CacheManager(options()).get_shared_cluster_info(config_hash(config()));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->usage_count, 0);
  EXPECT_EQ(entry->status, RegistryStatus::ready);
  expect_sound();
}

TEST_F(HolderDeath, OfTheLastLeavesADebtThatAnAcquireOnTheSameHostSettles) {
  Worker& first = start_holding(config(), handing_back());
  Worker& last = start_holding(config(), handing_back());
  const std::string cluster = leases().front().cluster_id.value();
  first.kill();
  last.kill();
  forget_log();
  const auto acquire_another = [&](const char* host) {
    Worker& another = start([&](const Actor& actor, SharedClusters& clusters) {
      ClusterLifecycle lifecycle = telling(actor);
      lifecycle.terminate = telling_terminate(actor);
      AcquireOptions options = patient(actor);
      options.afterwards = Afterwards::exit;  // somebody may have swept in this second
      clusters.acquire(config("another", host), lifecycle, options).release();
    });
    std::vector<std::string> lines = another.rest();
    std::erase_if(lines, [](const std::string& line) { return line.starts_with("creates"); });
    return lines;
  };

  EXPECT_THAT(acquire_another("https://two.example"), IsEmpty());
  EXPECT_THAT(owed_words(), ElementsAre(cluster + " handed_back"));
  EXPECT_THAT(acquire_another("https://one.example"), ElementsAre("terminates " + cluster));

  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(log(config_hash(config())),
              ElementsAre("LeaseLost died", "LeaseLost died", "RegistryEntryRemoved handed_back"));
  EXPECT_EQ(count_in_log("TerminationOwed handed_back"), 1);
  EXPECT_EQ(count_in_log("TerminationDone"), 1);
  expect_sound();
}

TEST_F(HolderDeath, WhileOthersHoldHandsNothingBack) {
  Worker& stays = start_holding(config(), handing_back());
  start_holding(config(), handing_back()).kill();

  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(settle(), IsEmpty());

  EXPECT_EQ(stays.finish(), 0);
  EXPECT_EQ(owed().size(), 1U);
  expect_sound();
}

// ---- Terminators

TEST_F(HolderDeath, OfATerminatorLetsAnotherTryAgain) {
  Worker& terminator = start_terminator();
  const std::string cluster = cluster_of(token_);
  forget_log();

  terminator.kill();

  const auto due = owed();
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].attempts, 1);
  EXPECT_THAT(due[0].error.value_or(""), StartsWith("the process that terminated it died (pid " +
                                                    std::to_string(terminator.pid())));
  EXPECT_FALSE(due[0].terminator);
  std::vector<std::int64_t> attempts;
  SharedClusters(options()).settle([&](const Termination& termination) {
    EXPECT_EQ(termination.owed.cluster_id, cluster);
    EXPECT_EQ(termination.owed.idempotency_token, token_);
    attempts.push_back(termination.owed.attempts);
  });
  EXPECT_THAT(attempts, ElementsAre(2));
  EXPECT_THAT(log(), ElementsAre("TerminationFailed", "TerminationStarted", "TerminationDone"));
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

TEST_F(HolderDeath, IsNeededBeforeAnotherTerminates) {
  Worker& terminator = start_terminator();

  EXPECT_THAT(settle(), IsEmpty());
  EXPECT_EQ(owed().at(0).terminator.value().pid, terminator.pid());

  terminator.go();
  EXPECT_EQ(terminator.next(), "settled");
  EXPECT_EQ(terminator.wait(), 0);
  EXPECT_EQ(count_in_log("TerminationStarted"), 1);
  EXPECT_THAT(settle(), IsEmpty());
  expect_sound();
}

TEST_F(HolderDeath, OfATerminatorCountsOnceItsProgramHasEnded) {
  test::Pipe input;
  test::Pipe pid;
  Worker& terminator = start_terminator([&](const Termination& termination) {
    pid.put(test::spawn_with(termination.lock_descriptor, input));
  });
  pid_t program = 0;
  ASSERT_TRUE(pid.get(program));
  terminator.kill_the_process();

  EXPECT_THAT(settle(), IsEmpty());
  EXPECT_TRUE(owed().at(0).terminator.has_value());

  test::end_program(program);
  EXPECT_THAT(settle(), ElementsAre(cluster_of(token_)));
  expect_sound();
}

// ---- Everyone

TEST_F(HolderDeath, OfEveryoneAtOnceLeavesDebtsAndNothingElse) {
  // Creators, and those who wait for them.
  start_creator(config("created"));
  const std::string created_token = token_;
  start_waiters(3, config("created"));
  start_creator(config("started"), [](Creation& creation) { creation.started("c-started"); });
  start_waiters(2, config("started"));
  // Holders of what is kept, and of what is handed back.
  start_holding(config("kept"));
  start_holding(config("kept"));
  start_holding(config("returned"), handing_back());
  const std::string returned = leases().back().cluster_id.value();
  start_holding(config("returned"), handing_back());
  start_terminator();
  const std::string terminated = cluster_of(token_);
  start_checkers();
  start_reporter();
  const std::string of_run = start_participant();
  ASSERT_EQ(workers_.size(), 17U);  // one of which has ended

  // A waiter is killed before the process that it waits for, or it would take over.
  for (auto worker = workers_.rbegin(); worker != workers_.rend(); ++worker) {
    (*worker)->begin_to_kill();
  }
  for (const auto& worker : workers_) worker->kill();

  EXPECT_THAT(owed_words(),
              UnorderedElementsAre(created_token + " creator_died", "c-started creator_died",
                                   returned + " handed_back", terminated + " handed_back",
                                   of_run + " handed_back"));
  EXPECT_THAT(settle(),
              UnorderedElementsAre(created_token, "c-started", returned, terminated, of_run));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(settle(), IsEmpty());
  expect_nothing_held();
  expect_sound();
}

// ---- The file of locks was replaced: holders are judged as processes

class ReplacedLocks : public HolderDeath {
 protected:
  void replace_locks() const {
    ASSERT_TRUE(std::filesystem::remove(database_.location() + "-locks"));
  }
  /// Before anybody is judged by it: makes the file of locks older than the grace that those have
  /// who held in one before.
  void end_grace() const {
    if (test::over_postgres()) return;
    std::fstream file(database_.location() + "-locks", std::ios::in | std::ios::out);
    constexpr std::int64_t long_ago = 0;
    file.seekp(72);  // behind the id and the boot's
    file.write(reinterpret_cast<const char*>(&long_ago), sizeof long_ago);
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

TEST_F(ReplacedLocks, TheLivingAndTheDeadAreToldApart) {
  Worker& lives = start_holding(config());
  Worker& doomed = start_holding(config());
  doomed.kill();

  replace_locks();

  EXPECT_THAT(judged(), ElementsAre(std::to_string(lives.pid()) + " alive",
                                    std::to_string(doomed.pid()) + " dead"));
  forget_log();
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(log(), ElementsAre("LeaseLost died"));
  EXPECT_EQ(lives.finish(), 0);
  EXPECT_THAT(leases(), IsEmpty());
  expect_sound();
}

TEST_F(ReplacedLocks, WhoHeldBeforeTheMachineStartedAnewIsDead) {
  Worker& lives = start_holding(config());
  end_grace();
  const auto entry = CacheManager(options()).get_shared_cluster_info(config_hash(config()));
  const auto lease_of = [&](const system::ProcessIdentity& process) {
    events::LeaseGranted lease;
    lease.config_hash = entry->config_hash;
    lease.cluster_id = entry->cluster_id.value();
    lease.holder = {"of another file", 5000, process, "here", std::nullopt, std::nullopt};
    lease.granted_at = Timestamp{};
    return lease;
  };
  // As one that could not follow: it has its place in a file that is gone.
  const test::TemporaryDirectory elsewhere_on_disk;
  const system::Descriptor old(
      ::open((elsewhere_on_disk.path() / "locks").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(store::sqlite::set_ofd_lock(old.get(), F_WRLCK, 5000));
  const auto here = system::identify_process(::getpid());
  auto before = here;
  before.boot_id = "another";
  auto reused = here;
  reused.start_time = *here.start_time - 1;
  auto elsewhere = here;
  elsewhere.pid_namespace = "pid:[1]";
  store::Store(options()).transact([&](const rows::Present& present) {
    events::Events leases;
    for (const auto& process : {here, before, reused, elsewhere}) {
      auto lease = lease_of(process);
      lease.usage_count = static_cast<std::int64_t>(leases.size()) + 2;
      leases.emplace_back(lease);
    }
    // Who cannot be judged is believed to live, for a while.
    auto unknown = lease_of(elsewhere);
    unknown.granted_at = present.now;
    unknown.usage_count = 6;
    leases.emplace_back(unknown);
    return leases;
  });

  const std::string me = std::to_string(::getpid());
  EXPECT_THAT(judged(), ElementsAre(std::to_string(lives.pid()) + " alive", me + " alive",
                                    me + " dead", me + " dead", me + " dead", me + " alive"));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_THAT(leases(), ::testing::SizeIs(3));
  EXPECT_EQ(lives.finish(), 0);
  expect_sound();
}

TEST_F(ReplacedLocks, ACreatorIsWaitedForAndTakenOverFromAllTheSame) {
  Worker& first = start_creator(config());
  replace_locks();
  const auto waiters = start_waiters(2, config());

  first.kill();

  std::vector<std::string> granted;
  for (const Worker* waiter : waiters) granted.push_back(waiter->next_of("granted"));
  EXPECT_THAT(granted, UnorderedElementsAre("granted " + cluster_of(token_) + " created",
                                            "granted " + cluster_of(token_) + " joined"));
  finish(waiters);
  expect_sound();
}

TEST_F(ReplacedLocks, WhoIsInAnotherPidNamespaceIsNotTakenForAnotherProcess) {
  const std::string refused = test::in_child([] { return test::enter_pid_namespace(); });
  if (!refused.empty()) GTEST_SKIP() << refused;
  Worker& outside = start([&](const Actor& actor, SharedClusters& clusters) {
    test::enter_pid_namespace();
    test::ChildProcess first([&] {  // pid 1 in there, and /proc still shows the processes out here
      const ClusterLease lease = clusters.acquire(config(), telling(actor), patient(actor));
      std::filesystem::remove(database_.location() + "-locks");
      actor.tell_and_wait("judged there: " + test::in_child([&] { return judged().at(0); }));
      return 0;
    });
    first.wait();
  });

  EXPECT_EQ(outside.next_of("judged"), "judged there: 1 alive");
  EXPECT_THAT(judged(), ElementsAre("1 alive"));
  const boost::json::value process = happenings().back().payload.at("holder").at("process");
  EXPECT_THAT(std::string(process.at("pid_namespace").as_string()), StartsWith("pid:["));
  EXPECT_NE(process.at("pid_namespace"), boost::json::value(system::own_pid_namespace()));
  EXPECT_EQ(outside.finish(), 0);
  expect_sound();
}

}  // namespace
}  // namespace dbcache
