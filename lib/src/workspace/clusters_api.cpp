#include "workspace/clusters_api.hpp"

#include <algorithm>
#include <array>
#include <set>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace json = boost::json;

namespace dbcache {
namespace databricks {
namespace {

constexpr std::array<std::pair<ClusterState, std::string_view>, 8> state_words{{
    {ClusterState::pending, "PENDING"},
    {ClusterState::running, "RUNNING"},
    {ClusterState::restarting, "RESTARTING"},
    {ClusterState::resizing, "RESIZING"},
    {ClusterState::terminating, "TERMINATING"},
    {ClusterState::terminated, "TERMINATED"},
    {ClusterState::error, "ERROR"},
    {ClusterState::unknown, "UNKNOWN"},
}};

ClusterState state_of(std::string_view word) {
  for (const auto& [state, name] : state_words) {
    if (name == word) return state;
  }
  return ClusterState::unknown;
}

}  // namespace

std::string_view to_string(ClusterState state) noexcept {
  for (const auto& [known, name] : state_words) {
    if (known == state) return name;
  }
  return "UNKNOWN";
}

}  // namespace databricks

namespace workspace {

using databricks::Cluster;
using databricks::ClusterState;

const States active_states{ClusterState::pending, ClusterState::running, ClusterState::restarting,
                           ClusterState::resizing};

namespace {

constexpr int not_found = 404;

std::string string_at(const json::object& body, std::string_view key) {
  const json::value* const value = body.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

std::optional<std::int64_t> number_at(const json::object& body, std::string_view key) {
  const json::value* const value = body.if_contains(key);
  boost::system::error_code failed;
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const auto number = value->to_number<std::int64_t>(failed);
  return failed ? std::nullopt : std::optional(number);
}

std::optional<Timestamp> milliseconds_at(const json::object& body, std::string_view key) {
  const auto number = number_at(body, key);
  // 0 stands for a time that there is none of.
  if (!number || *number <= 0) return std::nullopt;
  return Timestamp(std::chrono::milliseconds(*number));
}

std::map<std::string, std::string> texts_at(const json::object& body, std::string_view key) {
  std::map<std::string, std::string> texts;
  const json::value* const value = body.if_contains(key);
  if (value == nullptr || !value->is_object()) return texts;
  for (const auto& [name, text] : value->get_object()) {
    texts.emplace(name, text.is_string() ? std::string(text.get_string()) : json::serialize(text));
  }
  return texts;
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

Cluster read_cluster(const json::object& body) {
  Cluster cluster;
  cluster.cluster_id = string_at(body, "cluster_id");
  const std::string state = string_at(body, "state");
  if (cluster.cluster_id.empty() || state.empty()) {
    throw databricks::WorkspaceUnavailable(
        "the workspace describes a cluster without its id or state", {}, true);
  }
  cluster.state = databricks::state_of(state);
  cluster.cluster_name = string_at(body, "cluster_name");
  cluster.state_message = string_at(body, "state_message");
  cluster.creator_user_name = string_at(body, "creator_user_name");
  cluster.custom_tags = texts_at(body, "custom_tags");
  cluster.start_time = milliseconds_at(body, "start_time");
  cluster.terminated_time = milliseconds_at(body, "terminated_time");
  cluster.autotermination_minutes = number_at(body, "autotermination_minutes");
  if (const json::value* const reason = body.if_contains("termination_reason");
      reason != nullptr && reason->is_object()) {
    const json::object& given = reason->get_object();
    cluster.termination_reason = databricks::TerminationReason{
        string_at(given, "code"), string_at(given, "type"), texts_at(given, "parameters")};
  }
  return cluster;
}

std::string tag_of(const Cluster& cluster, std::string_view key) {
  for (const std::string& name : {std::string(key), "x_" + std::string(key)}) {
    if (const auto tag = cluster.custom_tags.find(name); tag != cluster.custom_tags.end()) {
      return tag->second;
    }
  }
  return "";
}

void ClustersApi::require_gone(const std::string& cluster_id, const databricks::Refusal& refusal,
                               const Bounds& bounds) const {
  for (const Cluster& cluster : list(active_states, bounds)) {
    if (cluster.cluster_id != cluster_id) continue;
    throw databricks::WorkspaceUnavailable(
        fmt::format("{} contradicts itself: it lists the cluster {} as {}, and does not find it",
                    api_.host(), cluster_id, databricks::to_string(cluster.state)),
        refusal, true);
  }
}

std::optional<Cluster> ClustersApi::get(const std::string& cluster_id, const Bounds& bounds) const {
  const Attempt attempt = api_.call(
      "GET", "/api/2.1/clusters/get?cluster_id=" + percent_encoded(cluster_id), nullptr, bounds);
  if (attempt.outcome == Attempt::Outcome::done) return read_cluster(attempt.body);
  if (is_gone(attempt.refusal)) return std::nullopt;
  if (attempt.refusal.http_status == not_found) {
    require_gone(cluster_id, attempt.refusal, bounds);
    return std::nullopt;
  }
  throw_refusal(fmt::format("{} does not say what the cluster {} does", api_.host(), cluster_id),
                attempt.refusal, Purpose::other);
}

std::vector<Cluster> ClustersApi::list(const States& states, const Bounds& bounds) const {
  constexpr const char* what = "the clusters cannot be listed";
  std::string first = "/api/2.1/clusters/list?page_size=100";
  for (const ClusterState state : states) {
    first += fmt::format("&filter_by.cluster_states={}", databricks::to_string(state));
  }
  std::vector<Cluster> clusters;
  std::set<std::string> seen_ids;
  std::set<std::string> seen_pages;
  for (std::string page;;) {
    const json::object body = api_.get(
        page.empty() ? first : first + "&page_token=" + percent_encoded(page), bounds, what);
    if (const json::value* const found = body.if_contains("clusters");
        found != nullptr && found->is_array()) {
      for (const json::value& one : found->get_array()) {
        if (!one.is_object()) continue;
        Cluster cluster = read_cluster(one.get_object());
        // A list that changes between its pages may name one twice.
        if (!seen_ids.insert(cluster.cluster_id).second) continue;
        const bool wanted = states.empty() ||
                            std::find(states.begin(), states.end(), cluster.state) != states.end();
        if (wanted) clusters.push_back(std::move(cluster));
      }
    }
    // An empty page is not the end; no token is.
    page = string_at(body, "next_page_token");
    if (page.empty()) return clusters;
    if (!seen_pages.insert(page).second) {
      throw databricks::WorkspaceUnavailable(
          fmt::format("{}: {} gives the same page again and again", what, api_.host()), {}, true);
    }
  }
}

std::vector<Cluster> ClustersApi::with_token(const std::string& token, const States& states,
                                             const Bounds& bounds) const {
  std::vector<Cluster> clusters = list(states, bounds);
  std::erase_if(clusters,
                [&](const Cluster& cluster) { return tag_of(cluster, token_tag) != token; });
  std::sort(clusters.begin(), clusters.end(), [](const Cluster& a, const Cluster& b) {
    return std::pair(a.start_time.value_or(Timestamp::max()), a.cluster_id) <
           std::pair(b.start_time.value_or(Timestamp::max()), b.cluster_id);
  });
  return clusters;
}

std::vector<Cluster> ClustersApi::unknown_with_token(const std::string& token,
                                                     const Bounds& bounds) const {
  std::vector<Cluster> clusters = with_token(token, {}, bounds);
  std::erase_if(clusters,
                [](const Cluster& cluster) { return cluster.state != ClusterState::unknown; });
  return clusters;
}

bool ClustersApi::remove(const std::string& cluster_id, bool permanently,
                         const Bounds& bounds) const {
  const json::object body{{"cluster_id", cluster_id}};
  const Attempt attempt = api_.call(
      "POST", permanently ? "/api/2.1/clusters/permanent-delete" : "/api/2.1/clusters/delete",
      &body, bounds);
  if (attempt.outcome == Attempt::Outcome::done) return true;
  if (is_gone(attempt.refusal)) return false;
  if (attempt.refusal.http_status == not_found) {
    require_gone(cluster_id, attempt.refusal, bounds);
    return false;
  }
  throw_refusal(fmt::format("the cluster {} cannot be terminated", cluster_id), attempt.refusal,
                Purpose::other);
}

}  // namespace workspace
}  // namespace dbcache
