#include <array>
#include <chrono>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <dbcache/dbcache.hpp>

#include "store/engine.hpp"
#include "support/errors.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/scoped_variable.hpp"
#include "system/descriptor.hpp"

// Settings of roles, databases and the server that must not reach dbcache's sessions.
namespace dbcache::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr const char* holding_session =
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND mode = 'ExclusiveLock'";

ClusterLifecycle creating(const std::string& cluster) {
  return {.create = [cluster](const ClusterConfig&, Creation&) { return cluster; }};
}

class PostgresRoleSettings : public ::testing::Test {
 protected:
  PostgresRoleSettings() {
    server_.execute("CREATE ROLE ci LOGIN");
    server_.execute("CREATE DATABASE ci OWNER ci");
    CacheManager({.database = server_.url("ci", "ci")}).create_database();
  }
  void set(const std::string& setting) { server_.execute("ALTER ROLE ci SET " + setting); }
  [[nodiscard]] Options options() const {
    return {.database = server_.url("ci", "ci"), .busy_timeout = std::chrono::seconds{5}};
  }
  /// All kinds of calls.
  void work() const {
    CacheManager manager(options());
    manager.cache_new_cluster("c-1");
    SharedClusters clusters(manager);
    ClusterLease lease = clusters.acquire({{"cluster_name", "one"}}, creating("c-2"));
    EXPECT_THAT(clusters.leases().leases, SizeIs(1));
    lease.release();
    EXPECT_THAT(clusters.owed(), IsEmpty());
    EXPECT_TRUE(manager.load_cluster_cache());
    EXPECT_GT(manager.history({}).size(), 2U);
    EXPECT_THAT(manager.verify().problems, IsEmpty());
    EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, IsEmpty());
    EXPECT_TRUE(manager.get_database_info().exists);
    manager.optimize_database();
  }

  const BareEnvironment environment_;
  PostgresServer server_;
};

TEST_F(PostgresRoleSettings, DefaultsOfARoleDoNotReachSessions) {
  for (const char* const setting :
       {"default_transaction_read_only = on", "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on", "statement_timeout = '30ms'",
        "idle_in_transaction_session_timeout = '1ms'", "lock_timeout = '1ms'",
        "search_path = nowhere", "client_encoding = 'LATIN1'", "\"DateStyle\" = 'SQL, DMY'",
        "\"IntervalStyle\" = 'iso_8601'", "\"TimeZone\" = 'Asia/Kathmandu'",
        "bytea_output = 'escape'", "standard_conforming_strings = off", "extra_float_digits = -15",
        "exit_on_error = on", "client_min_messages = 'debug5'"}) {
    set(setting);
  }
  work();
}

TEST_F(PostgresRoleSettings, DefaultsOfADatabaseOrOfTheUrlDoNotReachSessions) {
  server_.execute("ALTER DATABASE ci SET default_transaction_read_only = on");
  work();
  CacheManager manager({.database = server_.url("ci", "ci") +
                                    "&target_session_attrs=read-write&options=-c%20"
                                    "default_transaction_read_only%3Don",
                        .busy_timeout = std::chrono::seconds{5}});
  manager.cache_new_cluster("c-3");
  EXPECT_THAT(manager.get_all_clusters(), SizeIs(3));
}

TEST_F(PostgresRoleSettings, NoTimeoutEndsASessionByWhichSomethingLives) {
  set("idle_session_timeout = '50ms'");
  const auto engine = store::open_engine(options(), {});
  const auto lock = engine->take_lock();

  const std::string session = server_.query(holding_session);

  ASSERT_NE(session, "");
  // The server itself says when it would end an idle session.
  EXPECT_EQ(PostgresConnection(server_.url("ci", "ci")).query("SHOW idle_session_timeout"), "50ms");
  poll_until(
      [&] {
        return server_.query(
                   "SELECT clock_timestamp() > state_change + interval '500 ms' FROM "
                   "pg_stat_activity WHERE pid = " +
                   session) != "f";
      },
      "ten times the timeout");
  EXPECT_EQ(server_.query(holding_session), session);
}

TEST_F(PostgresRoleSettings, AServerThatTakesNoWritesIsReadAndItsRefusalNamed) {
  CacheManager({.database = server_.url("ci", "ci")}).cache_new_cluster("c-1");
  server_.execute("ALTER SYSTEM SET default_transaction_read_only = on");
  server_.execute("SELECT pg_reload_conf()");
  poll_until([&] { return server_.query("SHOW default_transaction_read_only") == "on"; },
             "the configuration");
  CacheManager manager(
      {.database = server_.url("ci", "ci"), .busy_timeout = std::chrono::milliseconds{300}});

  EXPECT_THAT(manager.get_all_clusters(), SizeIs(1));
  EXPECT_THAT(error_of([&] {
                manager.cache_new_cluster("c-2");
                return 0;
              }),
              AllOf(StartsWith("StorageFailure: "), HasSubstr("takes no writes")));
  EXPECT_THAT(manager.get_all_clusters(), SizeIs(1));
}

TEST(PostgresFencedPrimary, AServerOfTheUrlThatTakesWritesIsPreferred) {
  const BareEnvironment environment;
  const PostgresServer fenced({.more = {{"default_transaction_read_only", "on"}}});
  const PostgresServer primary;
  CacheManager manager({.database = "postgresql:///postgres?host=" + fenced.directory().string() +
                                    "," + primary.directory().string() +
                                    "&port=" + std::to_string(fenced.port()) + "," +
                                    std::to_string(primary.port()) + "&user=postgres"});

  manager.cache_new_cluster("c-1");

  EXPECT_EQ(primary.query("SELECT count(*) FROM dbcache.clusters"), "1");
}

TEST_F(PostgresRoleSettings, ACutSessionOfARoleThatWorksAsAnotherIsEnded) {
  server_.execute("CREATE ROLE login LOGIN NOINHERIT; GRANT ci TO login");
  server_.execute("ALTER ROLE login SET role = ci");
  Options as_login = options();
  as_login.database = server_.url("ci", "login");
  {
    const CacheManager manager(as_login);
    static_cast<void>(manager.get_database_info());
  }
  const auto engine = store::open_engine(as_login, {});
  const auto lock = engine->take_lock();
  const std::string session = server_.query(holding_session);
  ASSERT_NE(session, "");

  // The client has lost the connection, and the server does not notice.
  const int connection = lock->descriptor();
  const system::Descriptor other_end(::dup(connection));
  std::array<int, 2> broken{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, broken.data()), 0);
  ::close(broken[1]);
  ASSERT_EQ(::dup3(broken[0], connection, O_CLOEXEC), connection);
  ::close(broken[0]);
  static_cast<void>(engine->now());

  EXPECT_FALSE(lock->in_doubt());
  EXPECT_FALSE(lock->lost());
  EXPECT_THAT(server_.query(holding_session), ::testing::Not(::testing::AnyOf("", session)));
}

}  // namespace
}  // namespace dbcache::test
