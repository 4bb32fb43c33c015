// Two who let go of one cluster at the same moment: it is owed, and once. And what rows that cannot
// be do to the steps on other configurations.

#include <atomic>
#include <functional>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/postgres_connection.hpp"
#include "support/raw_database.hpp"
#include "support/rounds.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

int rounds_together() { return test::rounds(40, 1'000); }

class LeaseTogether : public ::testing::Test {
 protected:
  [[nodiscard]] Options options() const {
    return database_.options({.durability = Durability::relaxed});
  }

  static ClusterConfig config(const std::string& name) {
    return ClusterConfig::parse(fmt::format(R"({{"cluster_name": "{}", "num_workers": 1}})", name));
  }

  /// A lease on that cluster, whichever configuration it is of, to be handed back.
  static ClusterLease acquire(SharedClusters& clusters, const std::string& name,
                              const std::string& cluster_id,
                              const std::optional<std::string>& run = std::nullopt) {
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation&) { return cluster_id; };
    AcquireOptions options;
    options.policy = HandBackPolicy::hand_back;
    options.run = run;
    return clusters.acquire(config(name), lifecycle, options);
  }

  /// Both at the same moment.
  static void together(const std::function<void()>& one, const std::function<void()>& other) {
    std::latch ready(2);
    const auto begin = [&](const std::function<void()>& call) {
      ready.arrive_and_wait();
      call();
    };
    std::thread thread([&] { begin(other); });
    begin(one);
    thread.join();
  }

  void execute(const std::string& sql) const {
    if (!test::over_postgres()) return test::run_sql(database_.location(), sql);
    test::PostgresConnection session(database_.location());
    session.execute(fmt::format("SET search_path = {}; {}", database_.schema(), sql));
  }

  /// What is owed, which is cancelled, so that a next round may use that cluster.
  [[nodiscard]] std::vector<std::string> take_owed(SharedClusters& clusters) const {
    std::vector<std::string> subjects;
    for (const OwedTermination& owed : clusters.owed()) subjects.push_back(owed.subject);
    clusters.settle([](const Termination&) {});
    return subjects;
  }

  const test::TestDatabase database_;
};

TEST_F(LeaseTogether, TwoEntriesThatLetGoOfOneClusterOweItOnce) {
  SharedClusters one(options());
  SharedClusters other(options());
  for (int round = 0; round < rounds_together(); ++round) {
    const std::string cluster_id = fmt::format("c-{}", round);
    ClusterLease first = acquire(one, "a", cluster_id);
    ClusterLease second = acquire(other, "b", cluster_id);
    together([&] { first.release(); }, [&] { second.release(); });
    ASSERT_EQ(take_owed(one), std::vector<std::string>{cluster_id}) << "round " << round;
  }
  EXPECT_EQ(test::unsoundness_of(options()), "");
}

TEST_F(LeaseTogether, TheLastReleaseAndTheLastOfItsRunOweTheCluster) {
  SharedClusters one(options());
  SharedClusters other(options());
  for (int round = 0; round < rounds_together(); ++round) {
    const std::string cluster_id = fmt::format("c-{}", round);
    RunMembership member = other.join_run("nightly", "worker");
    ClusterLease lease = acquire(one, "a", cluster_id, "nightly");
    together([&] { lease.release(); }, [&] { member.leave(); });
    ASSERT_EQ(take_owed(one), std::vector<std::string>{cluster_id}) << "round " << round;
  }
  EXPECT_EQ(test::unsoundness_of(options()), "");
}

TEST_F(LeaseTogether, AJoinAndTheLastReleaseLeaveNoClusterThatIsBothHeldAndTerminated) {
  SharedClusters one(options());
  SharedClusters other(options());
  for (int round = 0; round < rounds_together(); ++round) {
    ClusterLease first = acquire(one, "a", fmt::format("c-{}", round));
    ClusterLease second;
    together([&] { first.release(); },
             [&] { second = acquire(other, "a", fmt::format("d-{}", round)); });
    const auto owed = take_owed(one);
    const bool joined = second.cluster_id() == fmt::format("c-{}", round);
    ASSERT_THAT(owed, SizeIs(joined ? 0 : 1)) << "round " << round;
    second.release();
    ASSERT_THAT(take_owed(one), SizeIs(1)) << "round " << round;
  }
}

class RowsThatCannotBe : public LeaseTogether {};

TEST_F(RowsThatCannotBe, HinderNoOtherConfigurationAndAReplayMendsThem) {
  SharedClusters clusters(options());
  acquire(clusters, "sound", "c-1").hold_for(std::chrono::hours{1});
  ClusterLease held = acquire(clusters, "broken", "c-2");
  const std::string hash = held.config_hash();
  execute(fmt::format("UPDATE leases SET holder = 'no JSON' WHERE config_hash = '{}'", hash));
  execute(
      "INSERT INTO leases (id, config_hash, cluster_id, holder, policy, granted_at, created_here) "
      "SELECT -7, 'nobody', 'no such cluster', holder, policy, granted_at, created_here "
      "FROM leases WHERE holder <> 'no JSON' LIMIT 1");

  acquire(clusters, "sound", "c-3").release();

  try {
    acquire(clusters, "broken", "c-4");
    ADD_FAILURE() << "it was granted";
  } catch (const CorruptDatabase& error) {
    EXPECT_THAT(error.what(), HasSubstr("holder of a row of leases"));
    EXPECT_THAT(error.what(), HasSubstr("dbcache replay"));
  }
  CacheManager(options()).replay();
  acquire(clusters, "broken", "c-4").release();
  held.release();
  EXPECT_EQ(test::unsoundness_of(options()), "");
}

TEST_F(RowsThatCannotBe, KeepNoSweepFromTheDeadOfOthers) {
  SharedClusters clusters(options());
  acquire(clusters, "broken", "c-1").hold_for(std::chrono::hours{1});
  execute("UPDATE shares SET creation = 5, worker = 'no JSON', runs = 'no JSON'");
  acquire(clusters, "sound", "c-2").hold_for(std::chrono::microseconds{1});
  EXPECT_EQ(take_owed(clusters), std::vector<std::string>{"c-2"});
  CacheManager(options()).replay();
  EXPECT_EQ(test::unsoundness_of(options()), "");
}

}  // namespace
}  // namespace dbcache
