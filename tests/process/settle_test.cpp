// Which call carries out a pending termination. One that asks for it does so at once. Of the steps
// on leases, the one that sweeps does it.

#include <chrono>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "coordination/open_store.hpp"
#include "lease_scene.hpp"
#include "store/chain.hpp"
#include "support/manual_clock.hpp"
#include "support/postgres_connection.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/test_database.hpp"
#include "text/hex.hpp"

namespace dbcache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

/// Clusters of three workspaces, one of them unnamed, that are owed since nobody could terminate
/// them when they were handed back.
class Settle : public ::testing::Test {
 protected:
  Settle() {
    for (const char* host : {"", "https://one.example", "https://two.example"}) {
      ClusterConfig config{{"cluster_name", "c"}};
      if (*host != '\0') config.values()["host"] = host;
      clusters_.acquire(
          config,
          {.create = [&](const ClusterConfig&, Creation&) { return std::string("on-") + host; }},
          {.policy = HandBackPolicy::hand_back});
    }
  }

  std::vector<std::string> settle(const std::optional<std::string>& host = std::nullopt) {
    return clusters_.settle([](const Termination&) {}, host).settled;
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  SharedClusters clusters_{database_.options()};
};

TEST_F(Settle, IsForEveryHostWhereNoneIsNamed) {
  EXPECT_THAT(settle(),
              UnorderedElementsAre("on-", "on-https://one.example", "on-https://two.example"));
  EXPECT_THAT(clusters_.owed(), IsEmpty());
}

TEST_F(Settle, IsForOneHostWhereItIsNamed) {
  EXPECT_THAT(settle("https://one.example"), UnorderedElementsAre("on-https://one.example"));
  EXPECT_THAT(clusters_.owed(), SizeIs(2));
}

TEST_F(Settle, IsForDebtsThatNameNoHostWhereItIsEmpty) {
  EXPECT_THAT(settle(""), UnorderedElementsAre("on-"));
  EXPECT_THAT(clusters_.owed(), SizeIs(2));
}

/// A debt that one process left, and steps of another. Each is made by a SharedClusters of its own,
/// as if by a process that has just begun.
class SettlingInSteps : public ::testing::Test {
 protected:
  /// Of a creation that failed. It makes the database, so that no sweep is done.
  SettlingInSteps() {
    const ClusterLifecycle fails{.create = [](const ClusterConfig&, Creation&) -> std::string {
      throw std::runtime_error("no quota");
    }};
    EXPECT_THROW(first_.acquire(config("failed"), fails), std::runtime_error);
  }

  [[nodiscard]] Options options() const { return database_.options({.clock = clock_.clock()}); }
  static ClusterConfig config(const std::string& name) { return {{"cluster_name", name}}; }

  [[nodiscard]] ClusterLifecycle lifecycle(const std::string& cluster_id) {
    return {.create = [=](const ClusterConfig&, Creation&) { return cluster_id; },
            .terminate =
                [this](const Termination& termination) {
                  terminated_.push_back(termination.owed.cluster_id.value_or("by its token"));
                  if (fails_) throw std::runtime_error("403");
                }};
  }

  /// As if another process had just swept, and that had taken long.
  void postpone_sweeps() const { coordination::open_store(options())->engine().swept(1min, 0); }

  /// What a step that sweeps terminates.
  std::vector<std::string> sweeping_step() {
    terminated_.clear();
    ClusterLease lease = SharedClusters(options()).acquire(config("kept"), lifecycle("kept"),
                                                           {.afterwards = Afterwards::exit});
    lease.hold_for(1h);
    return terminated_;
  }

  test::BareEnvironment environment_;
  test::ManualClock clock_;
  test::TestDatabase database_;
  SharedClusters first_{options()};  ///< Lives on, since it sweeps when it goes.
  std::vector<std::string> terminated_;
  bool fails_ = false;
};

TEST_F(SettlingInSteps, IsDoneByTheAcquireThatSweeps) {
  const ClusterLease lease = SharedClusters(options()).acquire(config("kept"), lifecycle("kept"));
  EXPECT_THAT(terminated_, ElementsAre("by its token"));
}

TEST_F(SettlingInSteps, IsLeftToOthersWhereAnotherProcessHasJustSwept) {
  postpone_sweeps();
  SharedClusters clusters(options());
  clusters.acquire(config("kept"), lifecycle("kept")).release();
  EXPECT_THAT(terminated_, IsEmpty());
}

TEST_F(SettlingInSteps, IsDoneAllTheSameByTheAcquireOfAProcessThatExits) {
  postpone_sweeps();
  EXPECT_THAT(sweeping_step(), ElementsAre("by its token"));
}

TEST_F(SettlingInSteps, IsDoneAllTheSameByTheReleaseOfAProcessThatExits) {
  postpone_sweeps();
  SharedClusters clusters(options());
  ClusterLease lease = clusters.acquire(config("kept"), lifecycle("kept"));
  lease.release({}, Afterwards::exit);
  EXPECT_THAT(terminated_, ElementsAre("by its token"));
}

TEST_F(SettlingInSteps, IsDoneAllTheSameByTheReleaseThatHandsBackTheLastClusterOfItsProcess) {
  postpone_sweeps();
  SharedClusters clusters(options());
  const AcquireOptions hand_back{.policy = HandBackPolicy::hand_back};
  ClusterLease first = clusters.acquire(config("1"), lifecycle("c-1"), hand_back);
  ClusterLease last = clusters.acquire(config("2"), lifecycle("c-2"), hand_back);
  EXPECT_TRUE(first.release().settled);
  EXPECT_THAT(terminated_, ElementsAre("c-1"));
  EXPECT_TRUE(last.release().settled);
  EXPECT_THAT(terminated_, ElementsAre("c-1", "c-2", "by its token"));
}

TEST_F(SettlingInSteps, IsNotBegunByACallThatIsStopped) {
  postpone_sweeps();
  std::stop_source stop;
  stop.request_stop();
  ClusterLease lease = SharedClusters(options()).acquire(config("1"), lifecycle("c-1"),
                                                         {.policy = HandBackPolicy::hand_back});
  EXPECT_TRUE(lease.release(stop.get_token(), Afterwards::exit).settled);
  EXPECT_THAT(terminated_, ElementsAre("c-1"));
}

TEST_F(SettlingInSteps, OfWhatAnAcquireLeftItselfIsDoneAtOnce) {
  SharedClusters clusters(options());
  clusters.acquire(config("expires"), lifecycle("c-old")).release();
  terminated_.clear();
  postpone_sweeps();
  clock_.advance(std::chrono::days{30});
  const ClusterLease lease = clusters.acquire(config("expires"), lifecycle("c-new"));
  EXPECT_THAT(terminated_, ElementsAre("c-old"));
}

TEST_F(SettlingInSteps, OfWhatFailedIsTriedAgainAfter1And2Minutes) {
  fails_ = true;
  EXPECT_THAT(sweeping_step(), SizeIs(1));
  EXPECT_THAT(sweeping_step(), IsEmpty());
  clock_.advance(59s);
  EXPECT_THAT(sweeping_step(), IsEmpty());
  clock_.advance(1s);
  EXPECT_THAT(sweeping_step(), SizeIs(1));
  clock_.advance(119s);
  EXPECT_THAT(sweeping_step(), IsEmpty());
  clock_.advance(1s);
  fails_ = false;
  EXPECT_THAT(sweeping_step(), SizeIs(1));
  EXPECT_THAT(SharedClusters(options()).owed(), IsEmpty());
}

TEST_F(SettlingInSteps, OfWhatFailedIsTriedAtOnceByACallThatAsksForIt) {
  fails_ = true;
  ASSERT_THAT(sweeping_step(), SizeIs(1));
  fails_ = false;
  SharedClusters clusters(options());
  EXPECT_THAT(clusters.settle(lifecycle("kept").terminate).settled, SizeIs(1));
  EXPECT_THAT(CacheManager(options()).replay({.mode = ReplayMode::check}).differences, IsEmpty());
}

TEST_F(SettlingInSteps, OfWhatFailedIsProjectedTheSameByAReplay) {
  fails_ = true;
  ASSERT_THAT(sweeping_step(), SizeIs(1));
  EXPECT_THAT(CacheManager(options()).replay({.mode = ReplayMode::check}).differences, IsEmpty());
}

/// The log and the table as a dbcache left them that knew of no retries.
class AfterAMigration : public SettlingInSteps {
 protected:
  void age() const {
    const store::EventRecord failed = as_older_one(last_failure());
    const std::string where = " WHERE position = " + std::to_string(failed.position) + "; ";
    const std::string hash = text::to_hex(failed.hash);
    const std::string payload = "UPDATE events SET payload = '" + failed.payload + "', hash = ";
    const std::string drop =
        "ALTER TABLE terminations DROP COLUMN retry_at; ALTER TABLE shares DROP COLUMN alive_at; "
        "ALTER TABLE shares DROP COLUMN failed_for_good; DROP TABLE creation_progress; ";
    if (!test::over_postgres()) {
      test::drop_triggers(database_.location());
      test::run_sql(database_.location(),
                    payload + "x'" + hash + "'" + where + drop +
                        "ALTER TABLE log_state DROP COLUMN incarnation; PRAGMA user_version = 6");
      return;
    }
    test::PostgresConnection session(database_.location());
    session.execute("SET search_path = " + database_.schema() +
                    "; ALTER TABLE events DISABLE TRIGGER USER; " + payload + "'\\x" + hash + "'" +
                    where + "ALTER TABLE events ENABLE TRIGGER USER; " + drop +
                    "UPDATE schema_version SET number = 4; "
                    "ALTER TABLE schema_version DROP COLUMN incarnation");
  }

 private:
  /// That event, and the hash before it in its stream.
  [[nodiscard]] std::pair<store::EventRecord, std::string> last_failure() const {
    std::pair<store::EventRecord, std::string> last;
    coordination::open_store(options())->read([&](const store::ReadSession& session) {
      for (const auto& event : session.log.read(0, 1'000, store::Extent::visible)) {
        if (event.type == "TerminationFailed") last.first = event;
      }
      last.second =
          session.log.read_stream(last.first.stream, last.first.version - 2, 1).at(0).hash;
    });
    return last;
  }
  static store::EventRecord as_older_one(std::pair<store::EventRecord, std::string> failure) {
    auto& [event, hash_before] = failure;
    boost::json::object payload = boost::json::parse(event.payload).as_object();
    payload["schema"] = 1;
    payload.erase("retry_at");
    event.payload = boost::json::serialize(payload);
    event.hash = store::chain_hash(event, hash_before);
    return event;
  }
};

TEST_F(AfterAMigration, WhatFailedBeforeIsTriedAtOnce) {
  fails_ = true;
  ASSERT_THAT(sweeping_step(), SizeIs(1));
  fails_ = false;
  age();
  EXPECT_THAT(CacheManager(options()).replay({.mode = ReplayMode::check}).differences, IsEmpty());
  EXPECT_THAT(sweeping_step(), SizeIs(1));
}

class LastOfAJob : public test::LeaseScene {};

TEST_F(LastOfAJob, FindsAWorkerThatDiedJustBeforeAndTerminatesItsCluster) {
  const AcquireOptions hand_back{.policy = HandBackPolicy::hand_back};
  test::Worker& dies = start_creator(config("other"), {}, hand_back);
  const std::string others = cluster_of(token_);
  dies.go();
  ASSERT_EQ(dies.next_of("granted"), "granted " + others + " created");
  std::vector<std::string> terminated;
  const ClusterLifecycle lifecycle{
      .create = [](const ClusterConfig&, Creation&) { return std::string("own"); },
      .terminate = [&](const Termination& of) { terminated.push_back(of.owed.subject); }};
  SharedClusters clusters(options());
  ClusterLease lease = clusters.acquire(config("own"), lifecycle, hand_back);
  coordination::open_store(options())->engine().swept(1min, 0);
  dies.kill();

  lease.release();

  EXPECT_THAT(terminated, ElementsAre("own", others));
  EXPECT_THAT(owed(), IsEmpty());
  expect_sound();
}

}  // namespace
}  // namespace dbcache
