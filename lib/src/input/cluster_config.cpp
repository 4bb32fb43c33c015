#include <algorithm>
#include <array>

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/algorithm/string/predicate.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/cluster.hpp>
#include <dbcache/errors.hpp>

#include "input/input.hpp"
#include "input/redact.hpp"
#include "system/environment.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"
#include "text/sha256.hpp"

namespace json = boost::json;

namespace dbcache {
namespace {

constexpr std::array<std::string_view, 5> never_hashed{"cluster_id", "created_at", "expiry_time",
                                                       "status", "is_shared"};

void drop_secrets(json::value& value) {
  if (auto* array = value.if_array()) {
    for (json::value& element : *array) drop_secrets(element);
  } else if (auto* object = value.if_object()) {
    for (auto member = object->begin(); member != object->end();) {
      if (input::names_a_secret(member->key())) {
        // Unlike erase, stable_erase keeps the order of the members still to come.
        member = object->stable_erase(member);
      } else {
        drop_secrets(member->value());
        ++member;
      }
    }
  }
}

/// https://host without a trailing slash. Scheme and host are in lower case, since they are
/// compared without case (RFC 3986, 6.2.2.1).
std::string normalised_host(std::string host) {
  boost::algorithm::trim(host);
  while (host.ends_with('/')) host.pop_back();
  if (host.find("://") == std::string::npos) host.insert(0, "https://");
  const std::size_t path = host.find('/', host.find("://") + 3);
  return boost::algorithm::to_lower_copy(host.substr(0, path)) +
         (path == std::string::npos ? "" : host.substr(path));
}

}  // namespace

std::optional<std::string> input::workspace_host(const json::object& configuration,
                                                 const system::Environment& environment) {
  const json::value* host = configuration.if_contains("host");
  const bool given = host != nullptr && host->is_string() && !host->get_string().empty();
  const std::string text = given ? std::string(host->get_string()) : environment.databricks_host;
  return text.empty() ? std::nullopt : std::optional(normalised_host(text));
}

ClusterConfig ClusterConfig::parse(std::string_view json_text) {
  if (json_text.size() > ClusterConfig::max_bytes) {
    throw InvalidArgument(
        fmt::format("the configuration is larger than {} bytes, the limit; make it smaller",
                    ClusterConfig::max_bytes));
  }
  json::value value = text::parse_json(json_text, "the configuration");
  if (!value.is_object()) {
    throw InvalidArgument("the configuration is not a JSON object; put it in braces");
  }
  return ClusterConfig(std::move(value.get_object()));
}

std::string config_hash(const ClusterConfig& config, const HashOptions& options) {
  const auto environment = system::Environment::read();
  json::value clean = input::Redactor(environment.databricks_token).json(config.values());
  drop_secrets(clean);
  json::object& hashed = clean.get_object();
  for (const std::string_view key : never_hashed) hashed.erase(key);

  const json::value* host = hashed.if_contains("host");
  if (host == nullptr || host->is_null() || host->is_string()) {
    const auto normalised = input::workspace_host(hashed, environment);
    hashed.erase("host");
    if (normalised) hashed["host"] = json::string(*normalised);
  }
  for (const std::string& key : options.leave_out) hashed.erase(key);
  return text::to_hex(text::Sha256().update(text::canonical_json(clean)).digest());
}

}  // namespace dbcache
void check_cluster_id(std::string_view id) { static_cast<void>(input::require_cluster_id(id)); }

