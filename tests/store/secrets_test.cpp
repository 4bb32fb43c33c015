#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/files.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* token = "dapi0123456789abcdef-very-secret";

class Secrets : public ::testing::Test {
 protected:
  void expect_nowhere(std::string_view secret) const {
    EXPECT_THAT(test::files_holding(directory_.path(), secret), IsEmpty());
  }
  void expect_kept(std::string_view text) const {
    EXPECT_THAT(test::files_holding(directory_.path(), text), Not(IsEmpty()));
  }

  test::BareEnvironment environment_;
  test::ScopedVariable variable_{"DATABRICKS_TOKEN", token};
  test::TemporaryDirectory directory_;
  CacheManager manager_{{.database = directory_.database()}};
};

TEST_F(Secrets, ATokenInSparkEnvVarsIsNowhereInTheFiles) {
  const test::ScopedVariable unset("DATABRICKS_TOKEN", std::nullopt);

  manager_.cache_new_cluster(
      "c", ClusterConfig::parse(
               R"({"cluster_name":"kept-name","spark_env_vars":{"DATABRICKS_TOKEN":"hunter-2-a",
                   "AWS_SECRET_ACCESS_KEY":"hunter-2-b","dbPassword":"hunter-2-c"}})"));

  expect_nowhere("hunter-2");
  expect_kept("kept-name");
  expect_kept("AWS_SECRET_ACCESS_KEY");
}

TEST_F(Secrets, TheTokenUnderAnInnocentKeyIsNowhereInTheFiles) {
  manager_.cache_new_cluster("c", {{"cluster_name", std::string("name ") + token},
                                   {"init_script", std::string("curl -H 'Bearer ") + token + "' x"},
                                   {token, 1}});

  expect_nowhere(token);
}

TEST_F(Secrets, TheTokenInAnErrorTextIsNowhereInTheFiles) {
  manager_.register_shared_cluster_creation("h", 1);

  manager_.update_shared_cluster_status(
      "h", RegistryStatus::failed, {.error_message = std::string("401 for ") + token + " kept"});

  expect_nowhere(token);
  expect_kept(" kept");
}

TEST_F(Secrets, TheTokenInALabelIsNowhereInTheFiles) {
  CacheManager labelled({.database = directory_.database(), .label = std::string("job ") + token});
  const test::ScopedVariable pytest("PYTEST_CURRENT_TEST", std::string("test[") + token + "]");

  labelled.cache_new_cluster("c");
  manager_.cache_new_cluster("d");

  expect_nowhere(token);
}

TEST_F(Secrets, TheTokenInARowGivenWholeIsNowhereInTheFiles) {
  CachedCluster row;
  row.cluster_id = "c";
  row.cluster_name = std::string("name ") + token;
  row.host = token;
  row.status = token;

  manager_.save_cluster_cache(row);

  expect_nowhere(token);
}

TEST_F(Secrets, ARefusedCallLeavesTheTokenNowhere) {
  EXPECT_THROW(manager_.cache_new_cluster("c", {{"spark_conf", token}, {"num_workers", -1}}),
               InvalidArgument);
  EXPECT_THROW(manager_.update_shared_cluster_status("unknown", RegistryStatus::failed,
                                                     {.error_message = token}),
               NotFound);

  expect_nowhere(token);
}

TEST_F(Secrets, OptimizingBringsNoSecretBack) {
  manager_.cache_new_cluster("c", {{"note", token}});

  manager_.optimize_database(Vacuum::yes);

  expect_nowhere(token);
}

}  // namespace
}  // namespace dbcache
