#include "workspace/auth_choice.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
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

[[noreturn]] void refuse_kind(const std::string& place, std::string_view kind) {
  throw NotAuthenticated(fmt::format(
      "{} asks for the credentials '{}', which dbcache cannot get itself; it knows {}. Put an "
      "access token into DATABRICKS_TOKEN instead, such as that of `databricks auth token` or "
      "`az account get-access-token`, and set DATABRICKS_HOST and DATABRICKS_AUTH_TYPE=pat",
      place, kind, fmt::join(known_kinds, ", ")));
}

std::string_view require_known(const std::string& place, std::string_view kind) {
  const auto* const known = std::find(known_kinds.begin(), known_kinds.end(), kind);
  if (known == known_kinds.end()) refuse_kind(place, kind);
  return *known;
}

/// What is given of a kind that lacks its rest, in words; empty if there is no such kind.
std::string unfinished(const AuthValues& values) {
  if (!values.client_secret.empty() && values.client_id.empty()) {
    return "a client secret without a client id";
  }
  if (!values.client_id.empty() && kinds_of(values).empty()) {
    return "a client id without a client secret or an OIDC token of CI";
  }
  if (!values.oidc_token_env.empty() && values.oidc_token.empty()) {
    return fmt::format("the name of a variable that is not set, {}", values.oidc_token_env);
  }
  return "";
}

/// Chooses among the kinds that one place has. Empty if it has none.
std::string_view choose_kind(const AuthValues& values, const std::string& place) {
  const auto kinds = kinds_of(values);
  if (!values.auth_type.empty()) {
    const std::string_view known = require_known(place, values.auth_type);
    if (std::find(kinds.begin(), kinds.end(), values.auth_type) == kinds.end()) {
      const std::string part = unfinished(values);
      throw NotAuthenticated(fmt::format(
          "{} asks for the credentials '{}', but does not have all of them{}; {}", place,
          values.auth_type, part.empty() ? "" : " (it has " + part + ")", remedy));
    }
    return known;
  }
  // A machine on GitHub has that kind beside any other.
  std::vector<std::string_view> meant = kinds;
  if (meant.size() > 1) std::erase(meant, "github-oidc");
  if (meant.size() > 1) {
    throw NotAuthenticated(
        fmt::format("{} has credentials of more than one kind, {}; say which to use in "
                    "DATABRICKS_AUTH_TYPE or the profile's auth_type, or remove the others",
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
  constexpr std::string_view characters = "abcdefghijklmnopqrstuvwxyz0123456789-._:[]";
  const std::size_t name = host.find("://") + 3;
  if (host.empty() || !(host.starts_with("https://") || host.starts_with("http://")) ||
      host.find_first_not_of(characters, name) != std::string::npos) {
    throw InvalidArgument(
        fmt::format("{} does not name the host of a workspace; give an address such as "
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

/// The first of these keys that a profile has: tools differ in their names.
std::string first_of(const Profile& profile, std::initializer_list<const char*> keys) {
  for (const char* const key : keys) {
    if (std::string value = profile.value(key); !value.empty()) return value;
  }
  return "";
}

AuthValues values_of(const Profile& profile, const AuthValues& environment) {
  AuthValues values;
  values.host = profile.value("host");
  values.token = profile.value("token");
  values.client_id = profile.value("client_id");
  values.client_secret = profile.value("client_secret");
  values.auth_type = profile.value("auth_type");
  values.audience = first_of(profile, {"audience", "token_audience"});
  values.oidc_token_file =
      first_of(profile, {"oidc_token_filepath", "databricks_id_token_filepath"});
  values.oidc_token_env = profile.value("oidc_token_env");
  if (!values.oidc_token_env.empty()) {
    values.oidc_token = environment_variable(values.oidc_token_env.c_str());
  } else if (values.auth_type == "env-oidc") {
    values.oidc_token = environment.oidc_token;
  }
  values.github_url = environment.github_url;
  values.github_token = environment.github_token;
  return values;
}

/// The kind of which a profile has something, where dbcache cannot use that kind.
std::string foreign_kind(const Profile& profile) {
  for (const auto& [key, value] : profile.values) {
    if (value.empty()) continue;
    if (key.starts_with("azure_")) return "azure-cli";
    if (key.starts_with("google_")) return "google-credentials";
    if (key == "password") return "basic";
    if (key == "metadata_service_url") return "metadata-service";
  }
  return "";
}

std::string name_of(const Profile& profile, const DatabricksConfig& config) {
  return fmt::format("the profile {} of {}", profile.name, config.path);
}

/// `auth_type`, if it is not empty, is instead of the profile's own.
AuthChoice of_profile(const Profile& profile, const DatabricksConfig& config,
                      const std::string& wanted_host, const std::string& auth_type,
                      const AuthValues& environment) {
  AuthValues values = values_of(profile, environment);
  const std::string name = name_of(profile, config);
  if (!auth_type.empty()) values.auth_type = auth_type;
  if (values.host.empty()) {
    throw NotAuthenticated(name + " has no host; add `host = https://...` to it");
  }
  const std::string host = checked_host(values.host, name);
  if (!wanted_host.empty() && host != wanted_host) {
    throw NotAuthenticated(
        fmt::format("{} is of the workspace {}, and {} is asked for; credentials go to their own "
                    "workspace only",
                    name, host, wanted_host));
  }
  const std::string_view kind = choose_kind(values, name);
  if (kind.empty()) {
    if (const std::string other = foreign_kind(profile); !other.empty()) refuse_kind(name, other);
    const std::string part = unfinished(values);
    throw NotAuthenticated(
        fmt::format("{} has no credentials that dbcache can use{}; add `token`, or `client_id` and "
                    "`client_secret`",
                    name, part.empty() ? "" : ", but " + part));
  }
  return chosen(kind, values.host, name, values);
}

bool is_usable(const Profile& profile, const AuthValues& environment) {
  const AuthValues values = values_of(profile, environment);
  const auto kinds = kinds_of(values);
  return values.auth_type.empty()
             ? !kinds.empty()
             : std::find(kinds.begin(), kinds.end(), values.auth_type) != kinds.end();
}

/// Among the profiles of this host: the one with that name, else the default one, else the one that
/// has credentials for dbcache. Null if there is none.
const Profile* profile_of_host(const DatabricksConfig& config, const std::string& host,
                               const std::string& named, const AuthValues& environment) {
  std::vector<const Profile*> all;
  for (const Profile& profile : config.profiles) {
    if (input::normalised_host(profile.value("host")) == host) all.push_back(&profile);
  }
  for (const std::string& name : {named, config.default_profile}) {
    for (const Profile* const profile : all) {
      if (profile->name == name) return profile;
    }
  }
  std::vector<const Profile*> usable;
  for (const Profile* const profile : all) {
    if (is_usable(*profile, environment)) usable.push_back(profile);
  }
  if (usable.empty()) return all.empty() ? nullptr : all.front();
  const auto what = [&](const Profile& profile) {
    const AuthValues values = values_of(profile, environment);
    return std::tuple(values.token, values.client_id, values.client_secret, values.auth_type,
                      values.oidc_token, values.oidc_token_file);
  };
  for (const Profile* const other : usable) {
    if (what(*other) == what(*usable.front())) continue;
    throw NotAuthenticated(
        fmt::format("{} has several profiles of the workspace {}, such as {} and {}; name one in "
                    "DATABRICKS_CONFIG_PROFILE",
                    config.path, host, usable.front()->name, other->name));
  }
  return usable.front();
}

/// What the caller gives in code. The environment adds what is not of another workspace: GitHub's
/// variables, and to a client id its secret, if that is for this host.
AuthValues given_in_code(const WorkspaceOptions& options, const AuthValues& environment) {
  AuthValues values;
  values.host = options.host.empty() ? environment.host : options.host;
  values.token = options.token;
  values.client_id = options.client_id;
  values.client_secret = options.client_secret;
  values.auth_type = options.auth_type;
  values.audience = environment.audience;
  values.github_url = environment.github_url;
  values.github_token = environment.github_token;
  const bool own = !environment.host.empty() &&
                   input::normalised_host(values.host) == input::normalised_host(environment.host);
  if (own && values.client_secret.empty() && !values.client_id.empty() &&
      (environment.client_id.empty() || environment.client_id == values.client_id)) {
    values.client_secret = environment.client_secret;
  }
  return values;
}

AuthChoice of_code(const WorkspaceOptions& options, const AuthValues& environment) {
  const AuthValues code = given_in_code(options, environment);
  if (code.host.empty()) {
    throw NotAuthenticated(
        "the options have credentials, but no host; give `host`, or set DATABRICKS_HOST");
  }
  const std::string_view kind = choose_kind(code, "the options");
  if (kind.empty()) {
    throw NotAuthenticated(fmt::format("the options have {}; {}", unfinished(code), remedy));
  }
  return chosen(kind, code.host, "the options", code);
}

/// The names of the variables that a kind is from.
std::string variables_of(std::string_view kind, const AuthValues& values) {
  if (kind == "pat") return "DATABRICKS_TOKEN";
  if (kind == "oauth-m2m") return "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET";
  if (kind == "github-oidc") return "DATABRICKS_CLIENT_ID and GitHub Actions";
  if (kind == "file-oidc") return "DATABRICKS_OIDC_TOKEN_FILEPATH";
  return values.oidc_token_env.empty() ? "DATABRICKS_OIDC_TOKEN" : values.oidc_token_env;
}

const Profile& named(const DatabricksConfig& config, const std::string& name) {
  if (const Profile* const profile = config.find(name)) return *profile;
  throw NotAuthenticated(fmt::format("there is no profile {} in {}{}", name, config.path,
                                     config.exists ? "" : ", which does not exist"));
}

[[noreturn]] void throw_none(const std::string& host, const std::string& own,
                             const AuthValues& environment, const DatabricksConfig& file) {
  const std::string part = unfinished(environment);
  std::string looked =
      own.empty() ? "DATABRICKS_HOST is not set"
      : host == own
          ? fmt::format("DATABRICKS_HOST is {} without credentials", own)
          : fmt::format("the credentials of DATABRICKS_HOST ({}) are not for {}", own, host);
  if (!part.empty() && host == own) looked += fmt::format(" (the environment has {})", part);
  looked += !file.exists ? fmt::format(", and there is no {}", file.path)
            : host.empty()
                ? fmt::format(", and {} has no profile {}", file.path, file.default_profile)
                : fmt::format(", and {} has no profile with the host {}", file.path, host);
  throw NotAuthenticated(fmt::format("there are no credentials for {}: {}; {}",
                                     host.empty() ? std::string("a Databricks workspace") : host,
                                     looked, remedy));
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
  if (!options.token.empty() || !options.client_id.empty() || !options.client_secret.empty()) {
    return of_code(options, environment);
  }
  if (!options.profile.empty()) {
    const DatabricksConfig file = config();
    return of_profile(named(file, options.profile), file, wanted, options.auth_type, environment);
  }

  AuthValues of_environment = environment;
  if (!options.auth_type.empty()) of_environment.auth_type = options.auth_type;
  const std::string own = environment.host.empty() ? "" : input::normalised_host(environment.host);
  const bool is_own = wanted.empty() || wanted == own;
  // GitHub's variables and a client id are no credentials yet.
  const bool has_credentials = !kinds_of(environment).empty();
  if (is_own && own.empty() && has_credentials) {
    throw NotAuthenticated(
        fmt::format("DATABRICKS_HOST is not set, but {} is, and credentials go to their own "
                    "workspace only; set "
                    "DATABRICKS_HOST to the workspace of the credentials in the environment",
                    variables_of(kinds_of(environment).front(), environment)));
  }
  if (is_own && has_credentials) {
    const std::string_view kind = choose_kind(of_environment, "the environment");
    checked_host(environment.host, "DATABRICKS_HOST");
    return chosen(kind, workspace_id_in(options.host).empty() ? environment.host : options.host,
                  variables_of(kind, environment), of_environment);
  }
  const std::string auth_type = is_own ? of_environment.auth_type : options.auth_type;
  if (!auth_type.empty()) require_known("the environment", auth_type);

  const DatabricksConfig file = config();
  const std::string host = wanted.empty() ? own : wanted;
  // The profile that is named is meant for the environment's own workspace. One of another
  // workspace is that workspace's.
  if (is_own && !named_profile.empty()) {
    return of_profile(named(file, named_profile), file, host, auth_type, environment);
  }
  const Profile* const profile = host.empty()
                                     ? file.find(file.default_profile)
                                     : profile_of_host(file, host, named_profile, environment);
  if (profile == nullptr) throw_none(host, own, environment, file);
  return of_profile(*profile, file, host, auth_type, environment);
}

}  // namespace dbcache::workspace
