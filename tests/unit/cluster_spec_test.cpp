#include "workspace/cluster_spec.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/databricks.hpp>

#include "workspace/auto_values.hpp"

namespace dbcache::workspace {
namespace {

namespace json = boost::json;

json::object spec_of(const char* configuration, std::int64_t minutes = 60) {
  return cluster_spec(ClusterConfig::parse(configuration),
                      {"dbcache-0123", std::string(64, 'a'), "log-1"}, minutes);
}

TEST(ClusterSpec, IsTheConfigurationWithMarks) {
  EXPECT_EQ(spec_of(R"({"cluster_name":"n","spark_version":"v","num_workers":2,"unknown":[1],
                        "autotermination_minutes":20,"custom_tags":{"team":"a"}})"),
            json::parse(R"({"cluster_name":"n","spark_version":"v","num_workers":2,"unknown":[1],
              "autotermination_minutes":20,
              "custom_tags":{"team":"a","dbcache-token":"dbcache-0123",
                "dbcache-config":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","dbcache-owner":"log-1"},
              "idempotency_token":"dbcache-0123"})"));
}

TEST(ClusterSpec, LeavesOutWhatIsDbcachesAndSecretsAtTheTop) {
  const json::object spec = spec_of(R"({"host":"h","status":"RUNNING","created_at":"t",
    "expiry_time":"t","is_shared":true,"cluster_id":"c","token":"dapi1","client_secret":"s",
    "spark_env_vars":{"API_TOKEN":"{{secrets/a/b}}"}})");
  EXPECT_THAT(json::serialize(spec), testing::Not(testing::HasSubstr("dapi1")));
  for (const char* const key : {"host", "status", "created_at", "expiry_time", "is_shared",
                                "cluster_id", "token", "client_secret"}) {
    EXPECT_FALSE(spec.contains(key)) << key;
  }
  // The cluster needs those.
  EXPECT_EQ(spec.at("spark_env_vars").at("API_TOKEN"), "{{secrets/a/b}}");
}

TEST(ClusterSpec, SaysWhatTheApiWouldElseAskFor) {
  EXPECT_EQ(spec_of("{}").at("num_workers"), 0);
  EXPECT_EQ(spec_of(R"({"num_workers":0})").at("num_workers"), 0);
  EXPECT_EQ(spec_of(R"({"num_workers":null})").at("num_workers"), 0);
  EXPECT_EQ(spec_of(R"({"policy_id":"p"})").at("num_workers"), 0);
  EXPECT_FALSE(
      spec_of(R"({"policy_id":"p","apply_policy_default_values":true})").contains("num_workers"));
  EXPECT_FALSE(
      spec_of(R"({"autoscale":{"min_workers":1,"max_workers":2}})").contains("num_workers"));
  EXPECT_EQ(spec_of("{}").at("autotermination_minutes"), 60);
  EXPECT_EQ(spec_of("{}", 0).at("autotermination_minutes"), 0);
  EXPECT_EQ(spec_of(R"({"autotermination_minutes":0})").at("autotermination_minutes"), 0);
  EXPECT_EQ(spec_of("{}").at("cluster_name"), "dbcache aaaaaaaaaaaa");
}

TEST(ClusterSpec, RefusesTagsThatDatabricksDoesNotTake) {
  EXPECT_THROW(spec_of(R"({"custom_tags":"team"})"), databricks::InvalidClusterConfig);
  EXPECT_THROW(spec_of(R"({"custom_tags":{"Name":"x"}})"), databricks::InvalidClusterConfig);
  json::object tags;
  for (int number = 0; number < 42; ++number) tags["k" + std::to_string(number)] = "v";
  const auto with_tags = [&] {
    return cluster_spec(ClusterConfig({{"custom_tags", tags}}), {"t", "h", "o"}, 60);
  };
  EXPECT_EQ(with_tags().at("custom_tags").as_object().size(), 45U);
  tags["one-more"] = "v";
  EXPECT_THROW(with_tags(), databricks::InvalidClusterConfig);
  // Those of an earlier try are replaced.
  EXPECT_EQ(
      spec_of(R"({"custom_tags":{"dbcache-token":"old"}})").at("custom_tags").at("dbcache-token"),
      "dbcache-0123");
}

TEST(AutoValues, AreTheNewestVersionAndTheSmallestNodeType) {
  const json::object versions = json::parse(R"({"versions":[
    {"key":"9.1.x-scala2.12","name":"9.1 LTS"}, {"key":"16.4.x-scala2.13","name":"16.4 LTS"},
    {"key":"16.4.x-scala2.12","name":"16.4 LTS"}, {"key":"17.3.x-scala2.13","name":"17.3"},
    {"key":"18.0.x-scala2.13","name":"18.0 Beta"}, {"key":"16.4.x-cpu-ml-scala2.12","name":"16.4 LTS ML"},
    {"key":"16.4.x-gpu-ml-scala2.12","name":"16.4 LTS ML"}, {"key":"19.x","name":"19 LTS"},
    {"key":"99999.1.x-scala2.12","name":"LTS"}, {"name":"LTS"}, 7]})")
                                    .as_object();
  EXPECT_EQ(latest_spark_version(versions, false, false), "17.3.x-scala2.13");
  EXPECT_EQ(latest_spark_version(versions, true, false), "16.4.x-scala2.12");
  EXPECT_EQ(latest_spark_version(versions, true, true), "16.4.x-cpu-ml-scala2.12");
  EXPECT_EQ(latest_spark_version({}, true, true), "");
  const json::object types = json::parse(R"({"node_types":[
    {"node_type_id":"big","num_cores":4.0,"memory_mb":1}, {"node_type_id":"b","num_cores":2.0,"memory_mb":8},
    {"node_type_id":"a","num_cores":2.0,"memory_mb":8,"node_info":{"status":[]}}, {"node_type_id":"old","num_cores":1.0,"is_deprecated":true},
    {"node_type_id":"gpu","num_cores":1.0,"num_gpus":1}, {"node_type_id":"arm","num_cores":1.0,"is_graviton":true},
    {"node_type_id":"sold out","num_cores":1.0,"node_info":{"status":["NotAvailableInRegion"]}},
    {"node_type_id":"not bought","num_cores":1.0,"node_info":{"status":["NotEnabledOnSubscription"]}},
    {"num_cores":0.5}]})")
                                 .as_object();
  EXPECT_EQ(smallest_node_type(types), "a");
  EXPECT_EQ(smallest_node_type({}), "");
}

}  // namespace
}  // namespace dbcache::workspace
