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

constexpr auto none = std::string_view::npos;

/// The byte order mark that programs of Windows write in front of UTF-8.
constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";

/// The encoding of a JSON text that begins with a byte order mark of UTF-16 or UTF-32, or as an
/// object without a mark does in them: `{` beside a zero byte. Null for any other text.
const char* wide_encoding_of(std::string_view json_text) {
  using namespace std::string_view_literals;
  if (json_text.starts_with("\xFF\xFE\0\0"sv) || json_text.starts_with("\0\0\xFE\xFF"sv)) {
    return "UTF-32";
  }
  for (const std::string_view mark : {"\xFF\xFE"sv, "\xFE\xFF"sv}) {
    if (json_text.starts_with(mark)) return "UTF-16";
  }
  const std::string_view first = json_text.substr(0, 4);
  if (first.find('\0') == none || first.find('{') == none) return nullptr;
  return first == "{\0\0\0"sv || first == "\0\0\0{"sv ? "UTF-32" : "UTF-16";
}

/// Takes `scheme://` off the front of an address, and returns the scheme; https if there is none.
std::string take_scheme(std::string_view& address) {
  const std::size_t colon = address.find("://");
  std::string scheme = "https";
  if (colon != none && colon > 0 && address.find_first_of("/?#@") > colon) {
    scheme = boost::algorithm::to_lower_copy(std::string(address.substr(0, colon)));
    address.remove_prefix(colon + 3);
  }
  address.remove_prefix(std::min(address.find_first_not_of('/'), address.size()));
  return scheme;
}

/// `:8080`; empty for the scheme's default port, and where there is none.
std::string port_of(std::string_view digits, std::string_view scheme) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  const bool is_default =
      (scheme == "https" && digits == "443") || (scheme == "http" && digits == "80");
  return digits.empty() || is_default ? "" : fmt::format(":{}", digits);
}

}  // namespace

std::string input::normalised_host(std::string_view given) {
  const std::string trimmed = boost::algorithm::trim_copy(std::string(given));
  std::string_view address = trimmed;
  const std::string scheme = take_scheme(address);
  address = address.substr(0, address.find_first_of("/?#\\"));
  if (const auto user = address.rfind('@'); user != none) address.remove_prefix(user + 1);

  // An address of IPv6 has colons of its own, in brackets.
  const std::size_t bracket = address.rfind(']');
  const std::size_t colon = address.find(':', bracket == none ? 0 : bracket);
  std::string_view name = address;
  std::string port;
  if (colon != none && address.find_first_not_of("0123456789", colon + 1) == none) {
    name = address.substr(0, colon);
    port = port_of(address.substr(colon + 1), scheme);
  }
  if (name.ends_with('.')) name.remove_suffix(1);  // of a name that is complete (RFC 1034, 3.1)
  if (name.empty()) return "";
  return fmt::format("{}://{}{}", scheme, boost::algorithm::to_lower_copy(std::string(name)), port);
}

std::optional<std::string> input::workspace_host(const json::object& configuration,
                                                 const system::Environment& environment) {
  const json::value* host = configuration.if_contains("host");
  const bool given = host != nullptr && host->is_string() && !host->get_string().empty();
  std::string text = given ? normalised_host(host->get_string()) : "";
  if (text.empty()) text = normalised_host(environment.databricks_host);
  return text.empty() ? std::nullopt : std::optional(text);
}

bool input::names_host(const ClusterConfig& config) {
  const json::value* const host = config.values().if_contains("host");
  return host != nullptr && !host->is_null() && !(host->is_string() && host->get_string().empty());
}

ClusterConfig input::with_host(const ClusterConfig& config, const std::string& host) {
  if (host.empty() || names_host(config)) return config;
  json::object values = config.values();
  values["host"] = host;
  return ClusterConfig(std::move(values));
}

void check_cluster_id(std::string_view id) { static_cast<void>(input::require_cluster_id(id)); }

ClusterConfig ClusterConfig::parse(std::string_view json_text) {
  if (json_text.size() > ClusterConfig::max_bytes) {
    throw InvalidArgument(
        fmt::format("the configuration is larger than {} bytes, the limit; make it smaller",
                    ClusterConfig::max_bytes));
  }
  if (json_text.starts_with(utf8_mark)) json_text.remove_prefix(utf8_mark.size());
  if (const char* const encoding = wide_encoding_of(json_text)) {
    throw InvalidArgument(
        fmt::format("the configuration is in {}; save it as UTF-8 (in PowerShell: Set-Content "
                    "-Encoding utf8)",
                    encoding));
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
