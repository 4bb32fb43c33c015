#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "process/lease_scene.hpp"
#include "store/engine.hpp"
#include "store/postgres/stream_locks.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/scoped_variable.hpp"

// How many sessions processes have, and what happens where a server has too few.
namespace dbcache::test {
namespace {

const ClusterConfig config{{"cluster_name", "one"}};

std::string sessions_of_workers(const PostgresServer& server) {
  return server.query(
      "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'worker %'");
}

TEST(PostgresConnections, AProcessThatWaitsOrHoldsHasOneAndAnIdleOneHasNone) {
  const BareEnvironment environment;
  const PostgresServer server;
  const Options options{.database = server.url()};
  const Worker holder([&](const Actor& actor) {
    SharedClusters clusters(options);
    ClusterLease lease = clusters.acquire(config, {.create = [&](const ClusterConfig&, Creation&) {
                                            actor.tell_and_wait("creates");
                                            return "c-1";
                                          }});
    actor.tell_and_wait("holds");
    lease.release();
    actor.tell_and_wait("released");
  });
  ASSERT_EQ(holder.next(), "creates");
  EXPECT_EQ(sessions_of_workers(server), "1");
  const Worker waiter([&](const Actor& actor) {
    SharedClusters clusters(options);
    const ClusterLease lease =
        clusters.acquire(config, {.create = [](const ClusterConfig&, Creation&) { return "c-2"; }},
                         {.on_wait = [&](const WaitProgress&) { actor.tell("waits"); }});
    actor.tell_and_wait("holds " + lease.cluster_id());
  });
  ASSERT_EQ(waiter.next(), "waits");
  EXPECT_EQ(sessions_of_workers(server), "2");

  holder.go();
  ASSERT_EQ(holder.next(), "holds");
  ASSERT_EQ(waiter.next_of("holds"), "holds c-1");
  EXPECT_EQ(sessions_of_workers(server), "2");
  holder.go();
  ASSERT_EQ(holder.next(), "released");
  poll_until([&] { return sessions_of_workers(server) == "1"; }, "the end of the idle session");
  holder.go();
  waiter.go();
}

TEST(PostgresConnections, ACrowdLargerThanTheServersRoomGetsThroughInTurns) {
  const BareEnvironment environment;
  const PostgresServer server({.more = {{"max_connections", "12"}}});
  const Options options{.database = server.url(), .busy_timeout = std::chrono::minutes{5}};
  CacheManager(options).create_database();
  std::vector<std::unique_ptr<Worker>> crowd;
  for (int number = 0; number < 30; ++number) {
    crowd.push_back(std::make_unique<Worker>([&](const Actor& actor) {
      actor.wait_for_go();
      SharedClusters clusters(options);
      ClusterLease lease = clusters.acquire(
          config, {.create = [&](const ClusterConfig&, Creation&) {
            // As a program that `create` runs: it needs a
            // session of its own.
            return CacheManager(options).get_all_clusters().empty() ? "c-1" : "c-2";
          }});
      actor.tell("held " + lease.cluster_id());
    }));
  }
  for (const auto& worker : crowd) worker->go();

  for (const auto& worker : crowd) EXPECT_EQ(worker->next(), "held c-1");
  for (const auto& worker : crowd) EXPECT_EQ(worker->wait(), 0);
}

// A crowd that only finds out that it must wait must not stand in one queue with the creator.
TEST(PostgresConnections, OneWhoWaitsForACreationNeedsNoLockToSeeIt) {
  const BareEnvironment environment;
  const PostgresServer server;
  const Options options{.database = server.url()};
  std::promise<void> begun;
  std::promise<void> over;
  std::thread creator([&] {
    SharedClusters clusters(options);
    clusters
        .acquire(config, {.create =
                              [&](const ClusterConfig&, Creation& creation) {
                                creation.started("c-1");
                                begun.set_value();
                                over.get_future().wait();
                                return "c-1";
                              }})
        .release();
  });
  begun.get_future().wait();
  const std::string log = server.query("SELECT log FROM dbcache.schema_version");
  PostgresConnection other(server.url());
  other.execute("BEGIN");
  other.execute(fmt::format(
      "SELECT pg_advisory_xact_lock(hashtextextended('registry-' || config_hash, {0})), "
      "pg_advisory_xact_lock(hashtextextended('cluster-' || cluster_id, {0})) "
      "FROM dbcache.shared_cluster_registry",
      store::postgres::StreamLocks::number(0, log)));

  const std::string error = error_of([&] {
    SharedClusters clusters({.database = server.url(), .busy_timeout = std::chrono::seconds{1}});
    return clusters.acquire(config,
                            {.create = [](const ClusterConfig&, Creation&) { return "c-2"; }},
                            {.timeout = std::chrono::milliseconds{0}});
  });

  EXPECT_THAT(error, ::testing::StartsWith("Timeout"));
  other.execute("ROLLBACK");
  over.set_value();
  creator.join();
}

TEST(PostgresConnections, ASessionThatAnotherThreadUsesIsNotClosed) {
  const BareEnvironment environment;
  const PostgresServer server;
  const Options options{.database = server.url()};
  CacheManager(options).create_database();
  const auto engine = store::open_engine(options, {});
  std::promise<void> begun;
  std::promise<void> over;
  std::thread reader([&] {
    engine->read(Timestamp{}, [&](const store::ReadSession&) {
      begun.set_value();
      over.get_future().wait();
    });
  });
  begun.get_future().wait();

  EXPECT_FALSE(engine->close_idle());
  over.set_value();
  reader.join();
  EXPECT_TRUE(engine->close_idle());
}

TEST(PostgresConnections, AServerWithoutRoomForMoreLocksIsToldApart) {
  const BareEnvironment environment;
  const PostgresServer server(
      {.more = {{"max_locks_per_transaction", "10"}, {"max_connections", "10"}}});
  const Options options{.database = server.url()};
  CacheManager(options).create_database();
  const auto engine = store::open_engine(options, {});
  std::vector<std::unique_ptr<store::LifeLock>> locks;

  const std::string error = error_of([&] {
    while (locks.size() < 1'000'000) locks.push_back(engine->take_lock());
    return 0;
  });

  EXPECT_THAT(error, ::testing::StartsWith("StorageFailure"));
  EXPECT_THAT(error, ::testing::HasSubstr("raise max_locks_per_transaction"));
  EXPECT_FALSE(locks.front()->lost());
  locks.clear();
  EXPECT_EQ(error_of([&] { return CacheManager(options).get_all_clusters(); }), "");
}

}  // namespace
}  // namespace dbcache::test
