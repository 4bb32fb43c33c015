#include "support/pgbouncer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/errors.hpp"
#include "support/postgres_connection.hpp"
#include "support/scoped_variable.hpp"

namespace dbcache::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(PostgresPgBouncer, SessionPoolingGivesEachClientItsOwnSession) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::session);
  PostgresConnection first(bouncer.url());
  PostgresConnection second(bouncer.url());

  const std::string backend = "SELECT pg_backend_pid()";
  EXPECT_NE(first.query(backend), second.query(backend));
}

TEST(PostgresPgBouncer, TransactionPoolingSharesASessionBetweenClients) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::transaction);
  PostgresConnection first(bouncer.url());
  PostgresConnection second(bouncer.url());

  const std::string backend = "SELECT pg_backend_pid()";
  EXPECT_EQ(first.query(backend), second.query(backend));

  first.execute("BEGIN");
  EXPECT_NE(first.query(backend), second.query(backend));
}

TEST(PostgresPgBouncer, TransactionPoolingIsRefused) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::transaction);
  CacheManager manager(Options{.database = bouncer.url()});

  const std::string error = error_of([&] { manager.cache_new_cluster("c-1"); });

  EXPECT_THAT(error, AllOf(HasSubstr("PgBouncer"), HasSubstr("use pool_mode = session")));
  EXPECT_EQ(server.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'dbcache'"), "0");
}

TEST(PostgresPgBouncer, SessionPoolingWorksLikeTheServerItself) {
  const BareEnvironment environment;
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::session);
  SharedClusters clusters(Options{.database = bouncer.url()});
  ClusterLease lease = clusters.acquire(
      {{"cluster_name", "one"}}, {.create = [](const ClusterConfig&, Creation&) { return "c-1"; }});

  const LeaseReport seen_by_others = SharedClusters(Options{.database = server.url()}).leases();
  ASSERT_THAT(seen_by_others.leases, SizeIs(1));
  EXPECT_TRUE(seen_by_others.leases.front().holder.alive);
  EXPECT_FALSE(lease.lost());
  EXPECT_TRUE(lease.release().was_held);
}

TEST(PostgresPgBouncer, APoolOfOneSessionServesOneClientAtATime) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::session, 1);
  const Options options{.database = bouncer.url(), .busy_timeout = std::chrono::seconds{1}};

  CacheManager(Options{.database = server.url()}).cache_new_cluster("c-1");
  {
    const CacheManager first(options);
    EXPECT_THAT(first.get_all_clusters(), SizeIs(1));
    EXPECT_THAT(error_of([&] { return CacheManager(options).get_all_clusters(); }),
                AllOf(HasSubstr("could not be used in time"), HasSubstr("does not answer")));
  }
  EXPECT_THAT(CacheManager(options).get_all_clusters(), SizeIs(1));
}

TEST(PostgresPgBouncer, TransactionPoolingIsRefusedWhenThePoolIsFull) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::transaction, 1);
  CacheManager manager(Options{.database = bouncer.url(), .busy_timeout = std::chrono::seconds{1}});

  EXPECT_THAT(error_of([&] { manager.cache_new_cluster("c-1"); }),
              HasSubstr("use pool_mode = session"));
}

TEST(PostgresPgBouncer, StatementPoolingIsRefused) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::statement);
  CacheManager manager(Options{.database = bouncer.url()});

  EXPECT_THAT(error_of([&] { manager.cache_new_cluster("c-1"); }),
              HasSubstr("use pool_mode = session"));
}

TEST(PostgresPgBouncer, APoolerThatDoesNotResetSessionsIsRefused) {
  const PostgresServer server;
  const PgBouncer bouncer(server, PgBouncer::Pooling::session_without_reset);
  CacheManager(Options{.database = bouncer.url()}).cache_new_cluster("c-1");

  EXPECT_THAT(
      error_of([&] { return CacheManager(Options{.database = bouncer.url()}).get_all_clusters(); }),
      AllOf(StartsWith("StorageFailure: "), HasSubstr("server_reset_query = DISCARD ALL")));
}

}  // namespace
}  // namespace dbcache::test
