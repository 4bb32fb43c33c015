#include "workspace/auth_choice.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "input/input.hpp"
#include "system/environment.hpp"
#include "workspace/http.hpp"

namespace dbcache::workspace {

using databricks::NotAuthenticated;
using databricks::WorkspaceOptions;
using system::environment_variable;

namespace {

constexpr std::array<std::string_view, 5> known_kinds{"pat", "oauth-m2m", "github-oidc", "env-oidc",
                                                      "file-oidc"};

constexpr std::string_view remedy =
    "set DATABRICKS_HOST with DATABRICKS_TOKEN, or with DATABRICKS_CLIENT_ID and "
    "DATABRICKS_CLIENT_SECRET, or name a profile of the config file "
    "(DATABRICKS_CONFIG_PROFILE); docs/workspace.md has all kinds";

/// The kinds of which everything is there.
std::vector<std::string_view> kinds_of(const AuthValues& values) {
  std::vector<std::string_view> kinds;
  if (!values.token.empty()) kinds.emplace_back("pat");
  if (!values.client_id.empty() && !values.client_secret.empty()) kinds.emplace_back("oauth-m2m");
  if (!values.client_id.empty() && !values.github_url.empty() && !values.github_token.empty()) {
    kinds.emplace_back("github-oidc");
  }
  if (!values.oidc_token.empty()) kinds.emplace_back("env-oidc");
  if (!values.oidc_token_file.empty()) kinds.emplace_back("file-oidc");
  return kinds;
}

/// Chooses among the kinds that one place has. Empty if it has none.
std::string_view choose_kind(const AuthValues& values, const std::string& place) {
  const auto kinds = kinds_of(values);
  if (!values.auth_type.empty()) {
    const auto* const known = std::find(known_kinds.begin(), known_kinds.end(), values.auth_type);
    if (known == known_kinds.end()) {
      throw NotAuthenticated(fmt::format(
          "{} asks for the credentials '{}', which dbcache cannot get itself; it knows {}. Put an "
          "access token into DATABRICKS_TOKEN instead, such as that of `databricks auth token` or "
          "`az account get-access-token`, and set DATABRICKS_AUTH_TYPE=pat",
          place, values.auth_type, fmt::join(known_kinds, ", ")));
    }
    if (std::find(kinds.begin(), kinds.end(), values.auth_type) == kinds.end()) {
      throw NotAuthenticated(
          fmt::format("{} asks for the credentials '{}', but does not have all of them; {}", place,
                      values.auth_type, remedy));
    }
    return *known;
  }
  // A machine on GitHub has that kind beside any other.
  std::vector<std::string_view> meant = kinds;
  if (meant.size() > 1) std::erase(meant, "github-oidc");
  if (meant.size() > 1) {
    throw NotAuthenticated(
        fmt::format("{} has credentials of more than one kind, {}; say which to use in "
                    "DATABRICKS_AUTH_TYPE, or remove the others",
                    place, fmt::join(meant, " and ")));
  }
  return meant.empty() ? std::string_view() : meant.front();
}

/// The id of the workspace in an address that was pasted from a browser.
std::string workspace_id_in(const std::string& address) {
  for (const std::string_view key : {"?o=", "&o=", "?w=", "&w=", "workspace_id="}) {
    const std::size_t at = address.find(key);
    if (at == std::string::npos) continue;
    const std::string rest = address.substr(at + key.size());
    return rest.substr(0, rest.find_first_not_of("0123456789"));
  }
  return "";
}

std::string checked_host(const std::string& given, const std::string& place) {
  std::string host = input::normalised_host(given);
  if (host.starts_with("http://") && !is_loopback(host)) {
    throw InvalidArgument(fmt::format(
        "the workspace {} of {} has an address of http, over which a token can be read on its way; "
        "use https",
        host, place));
  }
  if (host.empty() || !(host.starts_with("https://") || host.starts_with("http://"))) {
    throw InvalidArgument(
        fmt::format("{} names a workspace without a host; give an address such as "
                    "https://adb-1234567890123456.7.azuredatabricks.net",
                    place));
  }
  return host;
}

/// A secret as it goes into a header.
std::string clean_secret(std::string value, const char* what) {
  boost::algorithm::trim(value);
  if (std::any_of(value.begin(), value.end(),
                  [](unsigned char c) { return c <= ' ' || c >= 0x7f; })) {
    throw NotAuthenticated(
        fmt::format("the {} has a blank, a line break or another character that no {} has; copy it "
                    "again",
                    what, what));
  }
  return value;
}

void clean_secrets(AuthValues& values) {
  values.token = clean_secret(std::move(values.token), "token");
  values.client_id = clean_secret(std::move(values.client_id), "client id");
  values.client_secret = clean_secret(std::move(values.client_secret), "client secret");
  values.oidc_token = clean_secret(std::move(values.oidc_token), "OIDC token");
  values.github_token = clean_secret(std::move(values.github_token), "request token of GitHub");
}

AuthChoice chosen(std::string_view kind, const std::string& raw_host, std::string source,
                  AuthValues values) {
  AuthChoice choice;
  choice.kind = kind;
  choice.host = checked_host(raw_host, source);
  choice.workspace_id = workspace_id_in(raw_host);
  choice.source = std::move(source);
  clean_secrets(values);
  choice.values = std::move(values);
  return choice;
}

AuthValues values_of(const Profile& profile, const AuthValues& environment) {
  AuthValues values;
  values.host = profile.value("host");
  values.token = profile.value("token");
  values.client_id = profile.value("client_id");
  values.client_secret = profile.value("client_secret");
  values.auth_type = profile.value("auth_type");
  values.audience = profile.value("token_audience");
  values.oidc_token_file = profile.value("oidc_token_filepath");
  values.oidc_token_env = profile.value("oidc_token_env");
  if (!values.oidc_token_env.empty()) {
    values.oidc_token = environment_variable(values.oidc_token_env.c_str());
  }
  values.github_url = environment.github_url;
  values.github_token = environment.github_token;
  return values;
}

std::string name_of(const Profile& profile, const DatabricksConfig& config) {
  return fmt::format("the profile {} of {}", profile.name, config.path);
}

AuthChoice of_profile(const Profile& profile, const DatabricksConfig& config,
                      const std::string& wanted_host, const AuthValues& environment) {
  const AuthValues values = values_of(profile, environment);
  const std::string name = name_of(profile, config);
  if (values.host.empty()) {
    throw NotAuthenticated(name + " has no host; add `host = https://...` to it");
  }
  if (!wanted_host.empty() && checked_host(values.host, name) != wanted_host) {
    throw NotAuthenticated(
        fmt::format("{} is of the workspace {}, and {} is asked for; credentials go to their own "
                    "workspace only",
                    name, checked_host(values.host, name), wanted_host));
  }
  const std::string_view kind = choose_kind(values, name);
  if (kind.empty()) {
    throw NotAuthenticated(
        fmt::format("{} has no credentials that dbcache can use; add `token`, or `client_id` and "
                    "`client_secret`",
                    name));
  }
  return chosen(kind, values.host, name, values);
}

/// The profile of a workspace that is not the environment's.
const Profile* profile_of_host(const DatabricksConfig& config, const std::string& host) {
  const Profile* found = nullptr;
  std::string others;
  for (const Profile& profile : config.profiles) {
    if (input::normalised_host(profile.value("host")) != host) continue;
    if (profile.name == config.default_profile) return &profile;
    if (found != nullptr && found->values != profile.values) others = profile.name;
    if (found == nullptr) found = &profile;
  }
  if (!others.empty()) {
    throw NotAuthenticated(
        fmt::format("{} has several profiles of the workspace {}, such as {} and {}; name one in "
                    "DATABRICKS_CONFIG_PROFILE",
                    config.path, host, found->name, others));
  }
  return found;
}

bool has_any(const AuthValues& values) {
  // GitHub sets its variables unasked.
  return !values.token.empty() || !values.client_id.empty() || !values.client_secret.empty() ||
         !values.oidc_token.empty() || !values.oidc_token_file.empty();
}

/// What the caller gives in code, beside which the environment says nothing of credentials.
AuthValues given_in_code(const WorkspaceOptions& options, const AuthValues& environment) {
  AuthValues values;
  values.host = options.host.empty() ? environment.host : options.host;
  values.token = options.token;
  values.client_id = options.client_id;
  values.client_secret = options.client_secret;
  values.auth_type = options.auth_type;
  values.audience = environment.audience;
  return values;
}

}  // namespace

AuthValues auth_environment() {
  AuthValues values;
  values.host = environment_variable("DATABRICKS_HOST");
  values.token = environment_variable("DATABRICKS_TOKEN");
  values.client_id = environment_variable("DATABRICKS_CLIENT_ID");
  values.client_secret = environment_variable("DATABRICKS_CLIENT_SECRET");
  values.auth_type = environment_variable("DATABRICKS_AUTH_TYPE");
  values.oidc_token_env = environment_variable("DATABRICKS_OIDC_TOKEN_ENV");
  values.oidc_token = environment_variable(
      values.oidc_token_env.empty() ? "DATABRICKS_OIDC_TOKEN" : values.oidc_token_env.c_str());
  values.oidc_token_file = environment_variable("DATABRICKS_OIDC_TOKEN_FILEPATH");
  values.audience = environment_variable("DATABRICKS_TOKEN_AUDIENCE");
  values.github_url = environment_variable("ACTIONS_ID_TOKEN_REQUEST_URL");
  values.github_token = environment_variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
  return values;
}

AuthChoice choose_auth(const WorkspaceOptions& options, const AuthValues& environment,
                       const std::string& named_profile,
                       const std::function<DatabricksConfig()>& config) {
  const std::string wanted =
      options.host.empty() ? "" : checked_host(options.host, "the configuration or the options");
  if (const AuthValues code = given_in_code(options, environment); has_any(code)) {
    if (code.host.empty()) {
      throw NotAuthenticated("the options have credentials, but no host; give `host`");
    }
    const std::string_view kind = choose_kind(code, "the options");
    if (kind.empty()) throw NotAuthenticated(fmt::format("the options lack a part; {}", remedy));
    return chosen(kind, code.host, "the options", code);
  }
  const std::string profile_name = options.profile.empty() ? named_profile : options.profile;
  if (!options.profile.empty() || (!profile_name.empty() && !has_any(environment))) {
    const DatabricksConfig file = config();
    const Profile* const profile = file.find(profile_name);
    if (profile == nullptr) {
      throw NotAuthenticated(fmt::format("there is no profile {} in {}{}", profile_name, file.path,
                                         file.exists ? "" : ", which does not exist"));
    }
    return of_profile(*profile, file, wanted, environment);
  }
  AuthValues of_environment = environment;
  if (!options.auth_type.empty()) of_environment.auth_type = options.auth_type;
  const std::string own = environment.host.empty() ? "" : input::normalised_host(environment.host);
  if (!own.empty() && (wanted.empty() || wanted == own)) {
    const std::string_view kind = choose_kind(of_environment, "the environment");
    if (!kind.empty()) {
      const std::string raw = options.host.empty() || workspace_id_in(options.host).empty()
                                  ? environment.host
                                  : options.host;
      return chosen(kind, raw, kind == "pat" ? "DATABRICKS_TOKEN" : "the environment",
                    of_environment);
    }
  } else if (own.empty() && wanted.empty() && has_any(environment)) {
    throw NotAuthenticated(
        "DATABRICKS_HOST is not set, and credentials go to their own workspace only; set it to the "
        "workspace of the credentials in the environment");
  }
  const DatabricksConfig file = config();
  const std::string host = wanted.empty() ? own : wanted;
  const Profile* const profile =
      host.empty() ? file.find(file.default_profile) : profile_of_host(file, host);
  if (profile != nullptr) return of_profile(*profile, file, host, environment);
  std::string looked =
      own.empty() ? "DATABRICKS_HOST is not set"
      : host == own
          ? fmt::format("DATABRICKS_HOST is {} without credentials", own)
          : fmt::format("the credentials of DATABRICKS_HOST ({}) are not for {}", own, host);
  looked += !file.exists ? fmt::format(", and there is no {}", file.path)
            : host.empty()
                ? fmt::format(", and {} has no profile {}", file.path, file.default_profile)
                : fmt::format(", and {} has no profile with the host {}", file.path, host);
  throw NotAuthenticated(fmt::format("there are no credentials for {}: {}; {}",
                                     host.empty() ? std::string("a Databricks workspace") : host,
                                     looked, remedy));
}

}  // namespace dbcache::workspace
