#include "chaos/databricks_cloud.hpp"

#include <fstream>
#include <iterator>
#include <stdlib.h>
#include <utility>

#include <boost/json.hpp>

#include "chaos/journal.hpp"

namespace dbcache::chaos {
namespace {

using namespace std::chrono_literals;

/// The fake is never late by more than a part of these (workspace_upheavals.cpp).
constexpr workspace::Pace pace{.first = 20ms,
                               .longest = 300ms,
                               .jitter = 30ms,
                               .patience = 5s,
                               .list_lag = 1s,
                               .get_lag = 1s,
                               .late_cluster = latest_cluster};

}  // namespace

DatabricksCloud::DatabricksCloud(const std::filesystem::path& directory) {
  std::ifstream file(directory / "address.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const boost::json::value about = boost::json::parse(text);
  const auto field = [&](const char* name) { return std::string(about.at(name).as_string()); };
  control_ = field("control");
  ::setenv("SSL_CERT_FILE", field("ca").c_str(), 1);
  databricks::WorkspaceOptions options;
  options.host = field("host");
  options.token = field("token");
  lifecycle_ = std::make_shared<workspace::Lifecycle>(
      workspace::ClustersApi(workspace::Api(workspace::Credentials::find(options), pace)),
      workspace::Lifecycle::Settings{});
}

ClusterConfig DatabricksCloud::configuration(int number) const {
  return {{"cluster_name", "chaos-" + std::to_string(number)},
          {"host", lifecycle_->clusters().api().host()},
          {"spark_version", "15.4.x-scala2.12"},
          {"node_type_id", "m5.large"},
          {"num_workers", number}};
}

ClusterLifecycle DatabricksCloud::lifecycle() const {
  ClusterLifecycle lifecycle;
  lifecycle.host = lifecycle_->clusters().api().host();
  lifecycle.create = [self = lifecycle_](const ClusterConfig& config, Creation& creation) {
    return self->create(config, creation);
  };
  lifecycle.check = [self = lifecycle_](const std::string& cluster_id) {
    return self->check(cluster_id, {});
  };
  lifecycle.terminate = [self = lifecycle_](const Termination& termination) {
    self->terminate(termination.owed, termination.now, {});
  };
  lifecycle.check_counts_for = 200ms;
  return lifecycle;
}

void DatabricksCloud::die(const std::string& cluster_id) {
  const boost::json::object ended{{"state", "TERMINATED"},
                                  {"termination_reason", {{"code", "SPOT_INSTANCE_TERMINATION"}}}};
  workspace::HttpRequest request;
  request.method = "POST";
  request.url = control_ + "/clusters/" + cluster_id;
  request.headers = {"Content-Type: application/json"};
  request.body = boost::json::serialize(ended);
  try {
    http_.send(request, workspace::Bounds{}.at_most(10s));
  } catch (const Error&) {
    // It runs on.
  }
}

}  // namespace dbcache::chaos
