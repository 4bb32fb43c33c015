#include "workspace/cluster_spec.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include <dbcache/databricks.hpp>

#include "input/redact.hpp"
#include "workspace/clusters_api.hpp"

namespace json = boost::json;

namespace dbcache::workspace {
namespace {

/// Of dbcache, and not of the API.
constexpr std::array<std::string_view, 6> own_keys{"host",        "status",    "created_at",
                                                   "expiry_time", "is_shared", "cluster_id"};

/// https://docs.databricks.com/api/workspace/clusters/create, custom_tags.
constexpr std::size_t most_tags = 45;

json::object tags_of(const json::object& configuration, const Marks& marks) {
  json::object tags;
  if (const json::value* const given = configuration.if_contains("custom_tags");
      given != nullptr && !given->is_null()) {
    if (!given->is_object()) {
      throw databricks::InvalidClusterConfig("custom_tags is not an object; give names and values");
    }
    tags = given->get_object();
  }
  // Databricks loses sight of machines whose tag Name was changed, and never terminates them (its
  // documentation, "Monitor usage using tags").
  if (tags.contains("Name")) {
    throw databricks::InvalidClusterConfig(
        "custom_tags has the key Name, with which Databricks may never terminate the cluster; "
        "remove it, and use cluster_name");
  }
  constexpr std::size_t hash_digits = 32;
  tags[token_tag] = marks.token;
  tags[config_tag] = marks.config_hash.substr(0, hash_digits);
  if (!marks.owner.empty()) tags[owner_tag] = marks.owner;
  if (tags.size() > most_tags) {
    throw databricks::InvalidClusterConfig(
        fmt::format("custom_tags has {} keys with those of dbcache; Databricks takes at most {}",
                    tags.size(), most_tags));
  }
  return tags;
}

}  // namespace

json::object cluster_spec(const ClusterConfig& config, const Marks& marks,
                          std::int64_t autotermination_minutes) {
  json::object spec;
  for (const auto& [key, value] : config.values()) {
    const bool own = std::find(own_keys.begin(), own_keys.end(), key) != own_keys.end();
    if (own || input::names_a_secret(key)) continue;
    spec[key] = value;
  }
  spec["custom_tags"] = tags_of(spec, marks);
  spec["idempotency_token"] = marks.token;
  const auto is_missing = [&spec](const char* key) {
    const json::value* const value = spec.if_contains(key);
    return value == nullptr || value->is_null();
  };
  // Without either, clusters/create refuses; a lone driver is the smallest cluster. A policy may
  // have a default of its own, or fix another number.
  const json::value* const by_policy = spec.if_contains("apply_policy_default_values");
  const bool has_defaults = by_policy != nullptr && *by_policy == true;
  if (is_missing("num_workers") && is_missing("autoscale") && !has_defaults) {
    spec["num_workers"] = 0;
  }
  if (is_missing("autotermination_minutes")) {
    spec["autotermination_minutes"] = autotermination_minutes;
  }
  if (is_missing("cluster_name")) {
    constexpr std::size_t name_digits = 12;
    spec["cluster_name"] = "dbcache " + marks.config_hash.substr(0, name_digits);
  }
  return spec;
}

}  // namespace dbcache::workspace
