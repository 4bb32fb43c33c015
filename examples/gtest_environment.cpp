// A GoogleTest environment that shares one cluster between all test programs of a machine, and
// reuses that of the run before. Link it, and every test finds the cluster in `cluster`.

#include <cstdio>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>

#include <dbcache/dbcache.hpp>

namespace {

// Write these three functions yourself: they ask Databricks. An exception from the first two fails
// the tests with its message.
std::string start_cluster(const dbcache::ClusterConfig& config, dbcache::Creation& creation) {
  // POST /api/2.1/clusters/create with the configuration and creation.idempotency_token(). Another
  // request with the same token returns the same cluster.
  const std::string id = "cluster-" + std::to_string(getpid());
  creation.started(id);  // it is found again if this process dies while the cluster starts
  std::printf("starting %s as %s\n", config.values().at("cluster_name").as_string().c_str(),
              id.c_str());
  return id;  // once the cluster runs
}
bool is_running(const std::string& cluster_id) { return !cluster_id.empty(); }
void terminate_cluster(const dbcache::Termination& termination) {
  std::printf("terminating %s\n", termination.owed.subject.c_str());
}

class SharedCluster : public testing::Environment {
 public:
  void SetUp() override {
    const dbcache::ClusterConfig config{{"cluster_name", "integration-tests"},
                                        {"node_type_id", "m5.large"},
                                        {"spark_version", "13.3.x-scala2.12"},
                                        {"num_workers", 1}};
    lease_ = shared_.acquire(
        config, {.create = start_cluster, .check = is_running, .terminate = terminate_cluster},
        {.policy = dbcache::HandBackPolicy::keep});
  }
  void TearDown() override { lease_.release(); }

  [[nodiscard]] const std::string& id() const { return lease_.cluster_id(); }

 private:
  dbcache::SharedClusters shared_;
  dbcache::ClusterLease lease_;
};

SharedCluster* const cluster = new SharedCluster;  // GoogleTest deletes it

TEST(ATest, HasTheCluster) { EXPECT_FALSE(cluster->id().empty()); }

}  // namespace

int main(int count, char** values) {
  testing::InitGoogleTest(&count, values);
  testing::AddGlobalTestEnvironment(cluster);
  return RUN_ALL_TESTS();
}
