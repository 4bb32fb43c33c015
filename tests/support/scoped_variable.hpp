#pragma once

#include <optional>
#include <stdlib.h>
#include <string>

namespace dbcache::test {

/// An environment variable set, or unset, until the end of a scope. Not beside other threads.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const std::optional<std::string>& value)
      : name_(std::move(name)) {
    if (const char* before = ::getenv(name_.c_str())) before_ = before;
    put(value);
  }
  ~ScopedVariable() { put(before_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  void put(const std::optional<std::string>& value) {
    if (value) {
      ::setenv(name_.c_str(), value->c_str(), 1);
    } else {
      ::unsetenv(name_.c_str());
    }
  }

  std::string name_;
  std::optional<std::string> before_;
};

/// None of the variables that the library reads, so that a test means the same everywhere.
class BareEnvironment {
 private:
  ScopedVariable host_{"DATABRICKS_HOST", std::nullopt};
  ScopedVariable token_{"DATABRICKS_TOKEN", std::nullopt};
  ScopedVariable client_id_{"DATABRICKS_CLIENT_ID", std::nullopt};
  ScopedVariable client_secret_{"DATABRICKS_CLIENT_SECRET", std::nullopt};
  ScopedVariable profile_{"DATABRICKS_CONFIG_PROFILE", std::nullopt};
  ScopedVariable config_file_{"DATABRICKS_CONFIG_FILE", std::nullopt};
  ScopedVariable auth_type_{"DATABRICKS_AUTH_TYPE", std::nullopt};
  ScopedVariable oidc_token_{"DATABRICKS_OIDC_TOKEN", std::nullopt};
  ScopedVariable oidc_token_env_{"DATABRICKS_OIDC_TOKEN_ENV", std::nullopt};
  ScopedVariable oidc_file_{"DATABRICKS_OIDC_TOKEN_FILEPATH", std::nullopt};
  ScopedVariable audience_{"DATABRICKS_TOKEN_AUDIENCE", std::nullopt};
  ScopedVariable github_url_{"ACTIONS_ID_TOKEN_REQUEST_URL", std::nullopt};
  ScopedVariable github_token_{"ACTIONS_ID_TOKEN_REQUEST_TOKEN", std::nullopt};
  ScopedVariable cluster_{"DATABRICKS_CLUSTER_ID", std::nullopt};
  ScopedVariable database_{"DBCACHE_DATABASE", std::nullopt};
  ScopedVariable schema_{"DBCACHE_SCHEMA", std::nullopt};
  ScopedVariable label_{"DBCACHE_LABEL", std::nullopt};
  ScopedVariable test_{"PYTEST_CURRENT_TEST", std::nullopt};
};

}  // namespace dbcache::test
