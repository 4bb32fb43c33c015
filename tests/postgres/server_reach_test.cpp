#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <dbcache/dbcache.hpp>

#include "support/errors.hpp"
#include "support/listener.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/scoped_variable.hpp"
#include "system/descriptor.hpp"

// How far the log can be read while others write, and which of several hosts answers.
namespace dbcache::test {
namespace {

using ::testing::HasSubstr;

TEST(PostgresHorizon, TheSettledPositionLiesBelowWhatOpenTransactionsDrew) {
  const BareEnvironment environment;
  const PostgresServer server;
  CacheManager manager({.database = server.url()});
  for (int number = 0; number < 5; ++number) {
    manager.cache_new_cluster("c-" + std::to_string(number));
  }
  const std::int64_t last = manager.get_database_info().last_position;
  ASSERT_GE(last, 5);
  PostgresConnection other(server.url());
  // The lock of a transaction that begins to draw after so many positions: one that began before
  // the last was drawn, and one that begins between the two queries of the function.
  for (const std::int64_t offset : {-2, -1, 0, 1, 2, 100}) {
    other.execute(
        "BEGIN; SELECT pg_advisory_xact_lock_shared('dbcache.events'::regclass::oid::int4, (" +
        std::to_string(last + offset) + "::bigint)::bit(32)::int4)");
    EXPECT_EQ(server.query("SET search_path = dbcache; SELECT settled_position()"),
              std::to_string(std::min(last, last + offset)))
        << offset;
    EXPECT_EQ(manager.get_database_info().last_position, std::min(last, last + offset));
    other.execute("ROLLBACK");
  }
  // A lock has only the last 32 bits of these.
  for (const std::int64_t wrapped : {std::int64_t{1} << 32, (std::int64_t{5} << 32) + 3}) {
    other.execute("SELECT setval('dbcache.event_positions', " + std::to_string(wrapped) + ")");
    for (const std::int64_t offset : {-5, -1, 1, 5}) {
      other.execute(
          "BEGIN; SELECT pg_advisory_xact_lock_shared('dbcache.events'::regclass::oid::int4, (" +
          std::to_string(wrapped + offset) + "::bigint)::bit(32)::int4)");
      EXPECT_EQ(server.query("SET search_path = dbcache; SELECT settled_position()"),
                std::to_string(std::min(wrapped, wrapped + offset)));
      other.execute("ROLLBACK");
    }
  }
}

TEST(PostgresSilentHost, ASilentHostTakesNoTimeFromTheNext) {
  const BareEnvironment environment;
  const PostgresServer server;
  // Like one behind a firewall that lost power: the kernel accepts connections, and nothing comes.
  const Listener silent;
  const std::string url = "postgresql:///postgres?host=127.0.0.1," + server.directory().string() +
                          "&port=" + std::to_string(silent.port()) + "," +
                          std::to_string(server.port()) + "&user=postgres";
  SharedClusters clusters({.database = url, .busy_timeout = std::chrono::milliseconds(100)});
  ClusterLease lease = clusters.acquire(
      {{"cluster_name", "one"}},
      {.create = [](const ClusterConfig&, Creation&) { return std::string("c-1"); }});
  EXPECT_EQ(lease.cluster_id(), "c-1");
  EXPECT_FALSE(lease.lost());
  EXPECT_TRUE(lease.release().was_last);
}

/// An address that packets reach and that answers none of them: a queue of connections that is
/// full.
class UnreachableHost {
 public:
  UnreachableHost() {
    for (system::Descriptor& client : clients_) {
      client = system::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(static_cast<std::uint16_t>(listener_.port()));
      static_cast<void>(
          ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
    }
  }
  [[nodiscard]] int port() const { return listener_.port(); }

 private:
  const Listener listener_{0};
  std::array<system::Descriptor, 4> clients_;
};

TEST(PostgresSilentHost, AnUnreachableHostTakesNoTimeFromTheNext) {
  const BareEnvironment environment;
  const PostgresServer server;
  const UnreachableHost unreachable;
  const CacheManager manager(
      {.database = "postgresql:///postgres?host=127.0.0.1," + server.directory().string() +
                   "&port=" + std::to_string(unreachable.port()) + "," +
                   std::to_string(server.port()) + "&user=postgres&connect_timeout=1",
       .busy_timeout = std::chrono::milliseconds(100)});

  EXPECT_FALSE(manager.get_database_info().exists);
}

TEST(PostgresSilentHost, AServerThatAnswersNothingIsNamed) {
  const BareEnvironment environment;
  const UnreachableHost unreachable;
  const Listener silent;
  const CacheManager manager({.database = "postgresql://ci@127.0.0.1,127.0.0.1/ci?port=" +
                                          std::to_string(unreachable.port()) + "," +
                                          std::to_string(silent.port()) + "&connect_timeout=1",
                              .busy_timeout = std::chrono::milliseconds(100)});

  const std::string error = error_of([&] { return manager.get_all_clusters(); });

  for (const int port : {unreachable.port(), silent.port()}) {
    EXPECT_THAT(error, HasSubstr("port " + std::to_string(port) + " failed: timeout expired"));
  }
}

}  // namespace
}  // namespace dbcache::test
