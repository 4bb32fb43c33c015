#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/shared_clusters.hpp>

#include "support/postgres_fixture.hpp"
#include "support/scoped_variable.hpp"
#include "support/statement_proxy.hpp"

// How often a worker and its server speak, which is what counts where they are far apart.
namespace dbcache::test {
namespace {

class PostgresRoundTrips : public ::testing::Test {
 protected:
  [[nodiscard]] Options options(const std::string& url) const {
    Options options{.database = url};
    options.schema = schema_.name();
    return options;
  }
  static ClusterLease acquire(SharedClusters& clusters, const std::string& name) {
    return clusters.acquire({{"cluster_name", name}},
                            {.create = [&](const ClusterConfig&, Creation&) { return "c-" + name; },
                             .terminate = [](const Termination&) {}});
  }

  BareEnvironment environment_;
  ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  PostgresSchema schema_;
  StatementProxy proxy_{schema_.url(), [](const std::string&) {}};
};

TEST_F(PostgresRoundTrips, AnAcquireAndAReleaseTakeFew) {
  SharedClusters others(options(schema_.url()));
  const ClusterLease held = acquire(others, "one");
  const ClusterLease held_elsewhere = acquire(others, "two");
  SharedClusters clusters(options(proxy_.url()));
  acquire(clusters, "one").release();
  // What is sent behind a call, and not waited for, is counted by the time the next one returns.
  const auto messages_of = [&](const auto& call) {
    static_cast<void>(clusters.leases());
    const int before = proxy_.messages();
    call();
    static_cast<void>(clusters.leases());
    return proxy_.messages() - before;
  };
  // The network may merge two messages that are sent without a wait.
  std::array<int, 5> alone{};
  for (int& messages : alone) messages = messages_of([] {});
  std::ranges::sort(alone);
  const int beside = alone[alone.size() / 2];
  int fewest = std::numeric_limits<int>::max();

  // Once a second there is a sweep between.
  for (int round = 0; round < 20; ++round) {
    fewest = std::min(fewest, messages_of([&] { acquire(clusters, "one").release(); }) - beside);
  }

  // The acquire: the lock that shows that the worker lives, the locks and rows, the events and
  // rows; and the notification, which nobody waits for. The release: locks and rows, events and
  // rows; and without a wait, the notification and the lock let go.
  EXPECT_LE(fewest, 8);
  EXPECT_GE(fewest, 4) << "the messages are not counted";
}

}  // namespace
}  // namespace dbcache::test
