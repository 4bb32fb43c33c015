#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/databricks.hpp>
#include <dbcache/shared_clusters.hpp>

#include "fake_workspace.hpp"
#include "workspace/lifecycle.hpp"

namespace dbcache::test {

/// Tests against the fake workspace. All of an executable share one, which forgets everything
/// before each.
class WorkspaceTest : public testing::Test {
 protected:
  WorkspaceTest() {
    fake().trust();
    fake().ask("POST", "/reset");
  }

  static FakeWorkspace& fake() {
    static FakeWorkspace& one = *new FakeWorkspace();  // ends with this process
    return one;
  }

  static boost::json::value tell(std::string_view path, const boost::json::value& what) {
    return fake().ask("POST", path, what);
  }
  static void set(const char* name, const boost::json::value& value) {
    tell("/settings", boost::json::object{{name, value}});
  }
  static void fault(const boost::json::object& given) { tell("/faults", given); }

  /// The options of a workspace with the fake's token.
  static databricks::WorkspaceOptions fakes_own() {
    databricks::WorkspaceOptions options;
    options.host = fake().host();
    options.token = fake().token();
    return options;
  }

  /// As the library's own, but in a hurry.
  static workspace::Lifecycle hasty(workspace::Lifecycle::Settings settings = {60, false},
                                    const databricks::WorkspaceOptions& options = fakes_own(),
                                    std::chrono::milliseconds patience = std::chrono::seconds{3}) {
    using namespace std::chrono_literals;
    const workspace::Pace pace{10ms, 50ms, 0ms, patience, 300ms, 500ms};
    return {workspace::ClustersApi(workspace::Api(workspace::Credentials::find(options), pace)),
            settings};
  }

  static ClusterLifecycle lifecycle_of(const workspace::Lifecycle& workspace) {
    ClusterLifecycle lifecycle;
    lifecycle.host = workspace.clusters().api().host();
    lifecycle.create = [workspace](const ClusterConfig& config, Creation& creation) {
      return workspace.create(config, creation);
    };
    lifecycle.check = [workspace](const std::string& id) { return workspace.check(id, {}); };
    lifecycle.terminate = [workspace](const Termination& termination) {
      workspace.terminate(termination.owed, termination.now, {});
    };
    return lifecycle;
  }

  /// Where `~` is.
  std::string home() const { return environment_.home().string(); }

  Options database() const {
    Options options;
    options.database = (directory_.path() / "cache.db").string();
    return options;
  }

  static std::vector<boost::json::object> clusters(std::string_view state = {}) {
    std::vector<boost::json::object> found;
    const boost::json::value all = fake().ask("GET", "/clusters");
    for (const auto& cluster : all.as_array()) {
      if (state.empty() || cluster.at("state").as_string() == state)
        found.push_back(cluster.as_object());
    }
    return found;
  }
  /// Makes a cluster in a state that stays.
  static std::string made(const boost::json::object& fields) {
    return std::string(tell("/clusters", fields).at("cluster_id").as_string());
  }

  static std::string text(const boost::json::value& value) {
    return std::string(value.as_string());
  }

  /// Since the fake forgot everything.
  static int requests(std::string_view path) {
    static std::int64_t from = 0;  // what came before grows with each test
    int count = 0;
    const boost::json::value journal = fake().ask("GET", "/journal?from=" + std::to_string(from));
    for (const auto& line : journal.as_array()) {
      const auto& one = line.as_object();
      if (one.at("what") == "reset") {
        from = one.at("n").as_int64();
        count = 0;
      }
      if (one.at("what") == "request" && one.at("path").as_string().ends_with(path)) ++count;
    }
    return count;
  }

  static ClusterConfig config() {
    return ClusterConfig({{"spark_version", "15.4.x-scala2.12"}, {"num_workers", 0}});
  }

 private:
  WorkspaceEnvironment environment_;
  TemporaryDirectory directory_;
};

}  // namespace dbcache::test
