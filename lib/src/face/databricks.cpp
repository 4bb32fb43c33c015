#include <algorithm>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <dbcache/databricks.hpp>
#include <dbcache/json.hpp>

#include "input/input.hpp"
#include "system/environment.hpp"
#include "text/utf8.hpp"
#include "workspace/lifecycle.hpp"

namespace dbcache::databricks {
namespace {

constexpr std::int64_t least_autotermination = 10;
constexpr std::int64_t most_autotermination = 10'000;

workspace::Bounds bounds_of(const CallBounds& bounds) {
  workspace::Bounds whole;
  whole.stop = bounds.stop;
  whole.tick = bounds.on_wait;
  whole.patience = bounds.patience;
  if (bounds.deadline) whole.deadline = *bounds.deadline;
  return whole;
}

/// Whether a list of SCIM (RFC 7643) has an element with this value.
bool lists(const boost::json::object& body, const char* list, const char* key,
           std::string_view value) {
  const boost::json::value* const elements = body.if_contains(list);
  if (elements == nullptr || !elements->is_array()) return false;
  for (const boost::json::value& element : elements->get_array()) {
    if (!element.is_object()) continue;
    const boost::json::value* const found = element.get_object().if_contains(key);
    if (found != nullptr && found->is_string() && found->get_string() == value) return true;
  }
  return false;
}

/// Requested as soon as one of two is.
class EitherStop {
 public:
  EitherStop(const std::stop_token& one, const std::stop_token& other)
      : one_(one, Request{both_}), other_(other, Request{both_}) {}
  [[nodiscard]] std::stop_token token() const { return both_.get_token(); }

 private:
  struct Request {
    std::stop_source both;
    void operator()() { both.request_stop(); }
  };
  std::stop_source both_;
  std::stop_callback<Request> one_;
  std::stop_callback<Request> other_;
};

std::string host_in(const ClusterConfig& config) {
  const boost::json::value* const host = config.values().if_contains("host");
  return host != nullptr && host->is_string() ? std::string(host->get_string()) : "";
}

}  // namespace

class Workspace::Impl {
 public:
  explicit Impl(const WorkspaceOptions& given)
      : options(given),
        lifecycle(workspace::ClustersApi(workspace::Api(workspace::Credentials::find(given), {})),
                  {given.autotermination_minutes, given.permanent_delete}) {}

  [[nodiscard]] const workspace::Credentials& credentials() const noexcept {
    return lifecycle.clusters().api().credentials();
  }

  WorkspaceOptions options;
  workspace::Lifecycle lifecycle;
};

Workspace::Workspace(const WorkspaceOptions& options) {
  const std::int64_t minutes = options.autotermination_minutes;
  if (minutes != 0 && (minutes < least_autotermination || minutes > most_autotermination)) {
    throw InvalidArgument(
        fmt::format("autotermination_minutes is {}; it must be 0 for never, or {} to {}", minutes,
                    least_autotermination, most_autotermination));
  }
  impl_ = std::make_shared<Impl>(options);
}

Workspace Workspace::of(const ClusterConfig& config, WorkspaceOptions options) {
  std::string host = host_in(config);
  if (host.empty()) return Workspace(options);
  const std::string own = input::normalised_host(
      options.host.empty() ? system::environment_variable("DATABRICKS_HOST") : options.host);
  if (!own.empty() && own != input::normalised_host(host)) {
    // Those of the caller are for the caller's workspace, whatever a configuration names.
    options.token.clear();
    options.client_id.clear();
    options.client_secret.clear();
  }
  options.host = std::move(host);
  return Workspace(options);
}

bool Workspace::is_configured(const WorkspaceOptions& options) {
  try {
    static_cast<void>(workspace::Credentials::find(options));
    return true;
  } catch (const Error&) {
    return false;
  }
}

const std::string& Workspace::host() const noexcept { return impl_->credentials().host(); }
std::string_view Workspace::credentials() const noexcept { return impl_->credentials().kind(); }
const std::string& Workspace::credentials_source() const noexcept {
  return impl_->credentials().source();
}

ClusterLifecycle Workspace::lifecycle(const CallBounds& bounds) const {
  ClusterLifecycle lifecycle;
  lifecycle.create = [self = *this](const ClusterConfig& config, Creation& creation) {
    return self.create(config, creation);
  };
  lifecycle.check = [self = *this, bounds](const std::string& cluster_id) {
    return self.check(cluster_id, bounds);
  };
  lifecycle.check_within = [self = *this, bounds](const std::string& cluster_id,
                                                  const CheckLimits& limits) {
    CallBounds within = bounds;
    within.deadline = std::min(bounds.deadline.value_or(limits.deadline), limits.deadline);
    const EitherStop stop(bounds.stop, limits.stop);
    within.stop = stop.token();
    return self.check(cluster_id, within);
  };
  lifecycle.check_counts_for = check_counts_for;
  lifecycle.host = host();
  // What is not terminated stays pending, and is tried again: nobody waits long for it.
  CallBounds ending = bounds;
  ending.patience = std::min<std::chrono::milliseconds>(bounds.patience, std::chrono::minutes{1});
  lifecycle.terminate = [self = *this, ending](const Termination& termination) {
    CallBounds within = ending;
    const EitherStop stop(ending.stop, termination.stop);
    within.stop = stop.token();
    self.terminate(termination, within);
  };
  return lifecycle;
}

std::string Workspace::create(const ClusterConfig& config, Creation& creation) const {
  const std::string wanted = input::normalised_host(host_in(config));
  if (!wanted.empty() && wanted != host()) {
    if (!creation.continues_earlier()) creation.nothing_started();
    throw NotAuthenticated(
        fmt::format("the configuration names the workspace {}, and these credentials ({}) are for "
                    "{}; they go there only",
                    wanted, credentials_source(), host()));
  }
  return impl_->lifecycle.create(config, creation);
}

bool Workspace::check(const std::string& cluster_id, const CallBounds& bounds) const {
  return impl_->lifecycle.check(cluster_id, bounds_of(bounds));
}

void Workspace::terminate(const Termination& termination, const CallBounds& bounds) const {
  const OwedTermination& owed = termination.owed;
  if (owed.host && *owed.host != host()) {
    // Of another workspace, whose own credentials a profile may have.
    WorkspaceOptions options;
    options.host = *owed.host;
    options.config_file = impl_->options.config_file;
    options.permanent_delete = impl_->options.permanent_delete;
    const Impl other(options);
    other.lifecycle.terminate(owed, termination.now, bounds_of(bounds));
    return;
  }
  impl_->lifecycle.terminate(owed, termination.now, bounds_of(bounds));
}

User Workspace::user(const CallBounds& bounds) const {
  const boost::json::object body = impl_->lifecycle.clusters().api().get(
      "/api/2.0/preview/scim/v2/Me", bounds_of(bounds), "the user is not known");
  User user;
  const boost::json::value* const name = body.if_contains("userName");
  if (name != nullptr && name->is_string()) user.name = std::string(name->get_string());
  user.may_create_clusters = lists(body, "entitlements", "value", "allow-cluster-create") ||
                             lists(body, "groups", "display", "admins");
  return user;
}

std::optional<Cluster> Workspace::cluster(const std::string& cluster_id,
                                          const CallBounds& bounds) const {
  return impl_->lifecycle.clusters().get(cluster_id, bounds_of(bounds));
}

std::vector<Cluster> Workspace::clusters(const std::vector<ClusterState>& states,
                                         const CallBounds& bounds) const {
  return impl_->lifecycle.clusters().list(states, bounds_of(bounds));
}

}  // namespace dbcache::databricks

namespace dbcache {
namespace {

boost::json::object texts_json(const std::map<std::string, std::string>& texts) {
  boost::json::object object;
  for (const auto& [name, value] : texts) object[name] = text::to_valid_utf8(value);
  return object;
}

boost::json::value time_json(const std::optional<Timestamp>& time) {
  return time ? boost::json::value(boost::json::string(format_timestamp(*time)))
              : boost::json::value(nullptr);
}

}  // namespace

boost::json::object to_json(const databricks::Cluster& cluster) {
  boost::json::object object;
  object["cluster_id"] = text::to_valid_utf8(cluster.cluster_id);
  object["cluster_name"] = text::to_valid_utf8(cluster.cluster_name);
  object["state"] = boost::json::string(databricks::to_string(cluster.state));
  object["state_message"] = text::to_valid_utf8(cluster.state_message);
  object["termination_reason"] = nullptr;
  if (const auto& reason = cluster.termination_reason) {
    object["termination_reason"] = {{"code", text::to_valid_utf8(reason->code)},
                                    {"type", text::to_valid_utf8(reason->type)},
                                    {"parameters", texts_json(reason->parameters)}};
  }
  object["custom_tags"] = texts_json(cluster.custom_tags);
  object["creator_user_name"] = text::to_valid_utf8(cluster.creator_user_name);
  object["start_time"] = time_json(cluster.start_time);
  object["terminated_time"] = time_json(cluster.terminated_time);
  object["autotermination_minutes"] = nullptr;
  if (cluster.autotermination_minutes) {
    object["autotermination_minutes"] = *cluster.autotermination_minutes;
  }
  return object;
}

}  // namespace dbcache
