#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <dbcache/databricks.hpp>

#include "workspace/databrickscfg.hpp"

// Which credentials go to which workspace. Makes no request.
namespace dbcache::workspace {

/// What one place says of credentials: the options, the environment or a profile. Empty is unset.
struct AuthValues {
  std::string host{};
  std::string token{};
  std::string client_id{};
  std::string client_secret{};
  std::string auth_type{};
  std::string oidc_token_env{};   ///< The name of the variable that has the token.
  std::string oidc_token{};       ///< The value of that variable.
  std::string oidc_token_file{};  ///< The path of a file that has the token.
  std::string audience{};
  std::string github_url{};
  std::string github_token{};
};

/// The credentials to use.
struct AuthChoice {
  std::string_view kind;  ///< `pat`, `oauth-m2m`, `github-oidc`, `env-oidc` or `file-oidc`.
  std::string host;       ///< Normalised.
  std::string workspace_id;
  std::string source;   ///< Where they are from, in words.
  AuthValues values{};  ///< What the kind needs is there, without blanks or line breaks.
};

/// The variables of the environment that are about credentials.
AuthValues auth_environment();

/// Chooses by the options, the environment and, if these do not decide, a profile of the file that
/// `config` reads. `named_profile` is DATABRICKS_CONFIG_PROFILE. Throws NotAuthenticated with the
/// remedy; InvalidArgument for an address that is none.
AuthChoice choose_auth(const databricks::WorkspaceOptions& options, const AuthValues& environment,
                       const std::string& named_profile,
                       const std::function<DatabricksConfig()>& config);

}  // namespace dbcache::workspace
