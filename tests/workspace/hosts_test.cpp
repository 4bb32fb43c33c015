#include <fstream>
#include <string>

#include <dbcache/cache_manager.hpp>

#include "support/scoped_variable.hpp"
#include "workspace_test.hpp"

// Two workspaces beside each other: each cluster is recorded, terminated and shared as one of its
// own workspace, whatever DATABRICKS_HOST says.
namespace dbcache::databricks {
namespace {

using boost::json::object;
using test::ScopedVariable;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class HostsTest : public test::WorkspaceTest {
 protected:
  HostsTest() {
    other_.ask("POST", "/reset");
    std::ofstream both(home() + "/both.pem");
    for (const std::string& authority : {fake().about("ca"), other_.about("ca")}) {
      both << std::ifstream(authority).rdbuf();
    }
    both.close();
    ::setenv("SSL_CERT_FILE", (home() + "/both.pem").c_str(), 1);
  }

  test::FakeWorkspace& other() { return other_; }
  [[nodiscard]] std::size_t active_in_other() {
    const boost::json::value all = other_.ask("GET", "/clusters?state=RUNNING");
    return all.as_array().size();
  }
  [[nodiscard]] WorkspaceOptions others_own() const {
    WorkspaceOptions options;
    options.host = other_.host();
    options.token = other_.token();
    return options;
  }

 private:
  test::FakeWorkspace other_;
};

TEST_F(HostsTest, AClusterIsOfTheWorkspaceThatMadeItAndNotOfTheEnvironments) {
  const ScopedVariable host("DATABRICKS_HOST", fake().host());
  const ScopedVariable token("DATABRICKS_TOKEN", fake().token());
  CacheManager manager(database());
  SharedClusters shared(manager);
  AcquireOptions options;
  options.policy = HandBackPolicy::hand_back;
  ClusterLease lease = shared.acquire(config(), Workspace(others_own()).lifecycle(), options);
  EXPECT_EQ(active_in_other(), 1U);
  EXPECT_EQ(manager.get_all_clusters().front().host, other().host());
  EXPECT_THAT(reconcile(manager, Workspace()).elsewhere, ElementsAre(lease.cluster_id()));
  EXPECT_THAT(reconcile(manager, Workspace(others_own())).running, ElementsAre(lease.cluster_id()));
  // Beside it, the environment's workspace has a cluster of its own for the same configuration.
  ClusterLease own = shared.acquire(config(), Workspace().lifecycle(), options);
  EXPECT_NE(own.cluster_id(), lease.cluster_id());
  EXPECT_EQ(own.config_hash(), config_hash(config()));
  EXPECT_TRUE(own.release().settled);
  EXPECT_EQ(active_in_other(), 1U);
  EXPECT_TRUE(lease.release().settled);
  EXPECT_EQ(active_in_other(), 0U);
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(HostsTest, ProfilesOfTwoWorkspacesDoNotShareACluster) {
  std::ofstream(home() + "/.databrickscfg")
      << "[dev]\nhost = " << fake().host() << "\ntoken = " << fake().token()
      << "\n[prod]\nhost = " << other().host() << "\ntoken = " << other().token() << "\n";
  SharedClusters shared(database());
  const auto with = [](const char* profile) {
    WorkspaceOptions options;
    options.profile = profile;
    return Workspace(options).lifecycle();
  };
  const std::string dev = shared.acquire(config(), with("dev")).cluster_id();
  const std::string prod = shared.acquire(config(), with("prod")).cluster_id();
  EXPECT_NE(dev, prod);
  EXPECT_EQ(shared.acquire(config(), with("dev")).cluster_id(), dev);
  EXPECT_THAT(clusters("RUNNING"), SizeIs(1));
  EXPECT_EQ(active_in_other(), 1U);
  EXPECT_THAT(shared.owed(), IsEmpty());
}

TEST_F(HostsTest, AnAcquireWithinARunJoinsTheRunsLeaseWhateverItsWorkspace) {
  SharedClusters shared(database());
  const ClusterLease of_run = shared.acquire(config(), Workspace(others_own()).lifecycle());
  const ScopedVariable lease("DBCACHE_LEASE", of_run.name());
  const ScopedVariable cluster("DATABRICKS_CLUSTER_ID", of_run.cluster_id());
  const ScopedVariable host("DATABRICKS_HOST", fake().host());
  const ScopedVariable token("DATABRICKS_TOKEN", fake().token());
  EXPECT_EQ(shared.acquire(config(), Workspace().lifecycle()).cluster_id(), of_run.cluster_id());
  ClusterConfig another = config();
  another.values()["cluster_name"] = "another";
  EXPECT_NE(shared.acquire(another, Workspace().lifecycle()).cluster_id(), of_run.cluster_id());
  ClusterConfig elsewhere = config();
  elsewhere.values()["host"] = fake().host();
  EXPECT_NE(shared.acquire(elsewhere, Workspace().lifecycle()).cluster_id(), of_run.cluster_id());
}

TEST_F(HostsTest, ACheckEndsWithItsAcquire) {
  SharedClusters shared(database());
  const ClusterLifecycle lifecycle = Workspace(others_own()).lifecycle();
  const std::string id = shared.acquire(config(), lifecycle).cluster_id();
  ClusterLifecycle always = lifecycle;
  always.check_counts_for = {};
  other().ask("POST", "/clusters/" + id, object{{"state", "RESTARTING"}});
  AcquireOptions options;
  options.timeout = std::chrono::milliseconds{300};
  EXPECT_THROW(shared.acquire(config(), always, options), Timeout);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(static_cast<void>(always.check_within(
                   id, {std::chrono::steady_clock::time_point::max(), stop.get_token()})),
               Cancelled);
}

}  // namespace
}  // namespace dbcache::databricks
