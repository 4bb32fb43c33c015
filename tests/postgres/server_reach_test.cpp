#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <dbcache/dbcache.hpp>

#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/scoped_variable.hpp"

// How far the log can be read while others write, and which of several hosts answers.
namespace dbcache::test {
namespace {

/// A host that accepts connections and sends nothing, like one behind a firewall that lost power.
class SilentHost {
 public:
  SilentHost() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, any, size) != 0 || ::listen(socket_, 64) != 0 ||
        ::getsockname(socket_, any, &size) != 0) {
      throw std::runtime_error("no silent host");
    }
    port_ = ntohs(address.sin_port);
  }
  ~SilentHost() { ::close(socket_); }
  SilentHost(const SilentHost&) = delete;
  SilentHost& operator=(const SilentHost&) = delete;

  [[nodiscard]] int port() const { return port_; }

 private:
  int socket_;
  int port_ = 0;
};

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
  const SilentHost silent;
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

}  // namespace
}  // namespace dbcache::test
