#include "support/hosts.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"

namespace dbcache::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A server on host 0, and a client's host 1.
class PostgresHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = Hosts::why_not(); !reason.empty()) {
      GTEST_SKIP() << "hosts need root: " << reason;
    }
    hosts_ = std::make_unique<Hosts>(2);
    const Hosts::Visit there = hosts_->visit(0);
    server_ =
        std::make_unique<PostgresServer>(PostgresSettings{.listen_addresses = Hosts::address(0)});
  }

  /// The answer to a client on host 1.
  [[nodiscard]] std::string ask() const {
    return in_child([&]() -> std::string {
      const Hosts::Visit there = hosts_->visit(1);
      try {
        return PostgresConnection(url()).query("SELECT 'served'");
      } catch (const std::runtime_error& error) {
        return std::string("failed: ") + error.what();
      }
    });
  }
  [[nodiscard]] std::string url() const {
    return server_->tcp_url(Hosts::address(0)) + "?connect_timeout=10";
  }

  std::unique_ptr<Hosts> hosts_;
  std::unique_ptr<PostgresServer> server_;
};

TEST_F(PostgresHosts, HostsReachTheServerWhileTheyAreConnected) {
  EXPECT_EQ(ask(), "served");

  hosts_->unplug(1);
  EXPECT_THAT(ask(), StartsWith("failed: "));
  EXPECT_EQ(server_->query("SELECT 'here'"), "here");

  hosts_->plug_in(1);
  // The kernel does not look at once for a neighbour that it did not find.
  poll_until([&] { return ask() == "served"; }, "the way back");
}

TEST_F(PostgresHosts, AClientWaitsForANameServerThatIsOutOfReach) {
  const std::string error = in_child([&]() -> std::string {
    const Hosts::Visit there = hosts_->visit(1);
    CacheManager manager(Options{.database = "postgresql://server.example/postgres",
                                 .busy_timeout = std::chrono::seconds{1}});
    const auto began = std::chrono::steady_clock::now();
    const std::string told = error_of([&] { return manager.get_all_clusters(); });
    const bool waited = std::chrono::steady_clock::now() - began > std::chrono::milliseconds{300};
    return (waited ? "waited: " : "at once: ") + told;
  });

  EXPECT_THAT(error, AllOf(StartsWith("waited: StorageFailure"), HasSubstr("name resolution")));
}

TEST_F(PostgresHosts, ASessionSurvivesAShortSilence) {
  Pipe client_waits;
  Pipe unplugged;
  ChildProcess client([&] {
    client_waits.close_read();
    unplugged.close_write();
    const Hosts::Visit there = hosts_->visit(1);
    PostgresConnection session(url());
    client_waits.signal();
    if (!unplugged.wait()) return 1;
    PQsendQuery(session.get(), "SELECT 'served'");
    client_waits.signal();
    PGresult* const result = PQgetResult(session.get());
    const bool is_served = PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    return is_served ? 0 : 1;
  });
  client_waits.close_write();
  unplugged.close_read();
  ASSERT_TRUE(client_waits.wait());

  hosts_->unplug(1);
  unplugged.signal();
  ASSERT_TRUE(client_waits.wait());
  hosts_->plug_in(1);

  EXPECT_EQ(client.wait(), 0);
}

}  // namespace
}  // namespace dbcache::test
