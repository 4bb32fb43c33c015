#include "support/interleaving.hpp"

#include <array>
#include <chrono>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/postgres_connection.hpp"
#include "support/postgres_fixture.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"

// Two clients let go of a cluster, or one takes what the other lets go of, at every interleaving of
// their statements: a cluster that nobody needs is owed, and once. On SQLite, write transactions
// run one after the other.
namespace dbcache::test {
namespace {

using std::chrono::steady_clock;
using Works = std::array<Interleaving::Work, 2>;

/// Of the schedules with two switches, a usual run takes each so many-th: all of them take minutes.
int stride() { return rounds_apart(sanitized ? 101 : 23); }

class PostgresInterleaving : public ::testing::Test {
 protected:
  // Makes the schema.
  PostgresInterleaving() { other_.join_run("the first", "worker").leave(); }

  [[nodiscard]] Options options(const std::string& url) const {
    Options options{.database = url, .durability = Durability::relaxed};
    options.schema = schema_.name();
    return options;
  }

  /// A lease on this cluster, whichever configuration it is of, to be handed back.
  ClusterLease acquire(SharedClusters& clusters, const std::string& name,
                       const std::optional<std::string>& run = std::nullopt,
                       const std::function<void()>& creating = {}) const {
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation&) {
      if (creating) creating();
      return cluster_id_;
    };
    AcquireOptions options;
    options.policy = HandBackPolicy::hand_back;
    options.run = run;
    return clusters.acquire({{"cluster_name", name}, {"num_workers", 1}}, lifecycle, options);
  }

  /// What the tables say of the cluster.
  [[nodiscard]] std::string outcome() {
    return server_.query(
        fmt::format("SELECT format('%s leases, %s rows, pending %s times, %s entries', "
                    "(SELECT count(*) FROM leases), (SELECT count(*) FROM clusters), "
                    "(SELECT count(*) FROM terminations WHERE subject = '{}'), "
                    "(SELECT count(*) FROM shared_cluster_registry))",
                    cluster_id_));
  }

  /// How often it was owed, says the log.
  [[nodiscard]] std::string times_owed() {
    return server_.query(
        fmt::format("SELECT count(*) FROM events WHERE type = 'TerminationOwed' AND position > {}",
                    last_position_));
  }

  /// `set_up` makes the scene for a cluster, and returns what the two clients then do. `look`
  /// returns what is wrong after it, if anything.
  void run_all(const std::function<Works()>& set_up, const std::function<std::string()>& look) {
    const auto prepare = [&] {
      cluster_id_ = fmt::format("c-{}", ++clusters_);
      last_position_ = server_.query("SELECT coalesce(max(position), 0) FROM events");
      return set_up();
    };
    const auto check = [&](const Interleaving::Schedule& schedule) {
      const std::string wrong = look();
      if (wrong.empty()) return;
      throw std::runtime_error(
          fmt::format("{}: {}\n{}", schedule.describe(), wrong, clients_.trace()));
    };
    // The first statements of a connection, and its first transaction, differ from the rest.
    clients_.run({}, prepare());
    check({});
    const auto began = steady_clock::now();
    const int count = clients_.run_all(prepare, check, stride());
    const std::chrono::duration<double> took = steady_clock::now() - began;
    std::cout << fmt::format("{} schedules in {:.1f} s\n", count, took.count());
    EXPECT_GT(count, 30) << "the statements are not told apart";
    EXPECT_EQ(unsoundness_of(options(schema_.url())), "");
  }

  void expect_owed_once(const std::function<Works()>& set_up) {
    run_all(set_up, [&]() -> std::string {
      const std::string found = fmt::format("{}, owed {} times", outcome(), times_owed());
      const bool good = found == "0 leases, 0 rows, pending 1 times, 0 entries, owed 1 times";
      return good ? "" : found;
    });
  }

  BareEnvironment environment_;
  ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  PostgresSchema schema_;
  Interleaving clients_{schema_.url()};
  SharedClusters one_{options(clients_.url(0))};
  SharedClusters other_{options(clients_.url(1))};
  PostgresConnection server_{schema_.url() + "&options=-csearch_path%3D" + schema_.name()};
  int clusters_ = 0;
  std::string cluster_id_;
  std::string last_position_;
};

TEST_F(PostgresInterleaving, TheLastReleaseAndTheLastOfItsRunOweTheClusterOnce) {
  RunMembership member;
  ClusterLease lease;
  expect_owed_once([&]() -> Works {
    member = other_.join_run("nightly", "worker");
    lease = acquire(one_, "a", "nightly");
    return {[&] { lease.release(); }, [&] { member.leave(); }};
  });
}

TEST_F(PostgresInterleaving, TwoEntriesThatLetGoOfOneClusterOweItOnce) {
  ClusterLease first;
  ClusterLease second;
  expect_owed_once([&]() -> Works {
    first = acquire(one_, "a");
    second = acquire(other_, "b");
    return {[&] { first.release(); }, [&] { second.release(); }};
  });
}

TEST_F(PostgresInterleaving, TheLastReleaseAndTheRunOfAnotherEntryOweTheClusterOnce) {
  RunMembership member;
  ClusterLease lease;
  expect_owed_once([&]() -> Works {
    member = other_.join_run("nightly", "worker");
    acquire(other_, "a", "nightly").release();
    lease = acquire(one_, "b");
    return {[&] { lease.release(); }, [&] { member.leave(); }};
  });
}

TEST_F(PostgresInterleaving, TheLastReleaseOwesNoClusterThatACreationGetsAtThatMoment) {
  ClusterLease lease;
  std::future<ClusterLease> creating;
  ClusterLease created;
  const auto set_up = [&]() -> Works {
    lease = acquire(one_, "a");
    const auto created_now = std::make_shared<std::promise<void>>();
    const auto asked = std::make_shared<std::promise<void>>();
    creating =
        std::async(std::launch::async, [&, asked, until = created_now->get_future().share()] {
          return acquire(other_, "b", std::nullopt, [asked, until] {
            asked->set_value();
            until.wait();
          });
        });
    asked->get_future().wait();
    return {[&] { lease.release(); },
            [&, created_now] {
              created_now->set_value();
              created = creating.get();
            }};
  };
  run_all(set_up, [&]() -> std::string {
    const std::string held = outcome();
    created.release();
    const std::string left = outcome();
    // The other entry stays while its cluster is held.
    const bool good = held.starts_with("1 leases, 1 rows, pending 0 times") &&
                      left == "0 leases, 0 rows, pending 1 times, 0 entries";
    return good ? "" : fmt::format("{}; after the release {}", held, left);
  });
}

// The use finds its lease, and with it a configuration to lock, before it knows the cluster's
// stream, which is where it appends.
TEST_F(PostgresInterleaving, AUseAndAnAccessOfOneClusterAreInTheOrderOfTheirPositions) {
  CacheManager manager(options(clients_.url(1)));
  ClusterLease lease;
  const auto set_up = [&]() -> Works {
    lease = acquire(one_, "a");
    return {[&] { lease.note_use("a test"); }, [&] { manager.update_cluster_access(cluster_id_); }};
  };
  run_all(set_up, [&]() -> std::string {
    lease.release();
    const std::string late = server_.query(
        "SELECT string_agg(stream || ' ' || version, ', ') FROM (SELECT stream, version, "
        "position < lag(position) OVER (PARTITION BY stream ORDER BY version) AS is_late "
        "FROM events) AS numbered WHERE is_late");
    return late.empty() ? "" : "out of order: " + late;
  });
}

}  // namespace
}  // namespace dbcache::test
