#pragma once

#include <string>

namespace dbcache::system {

/// The variables that calls look at; empty where one is not set. Read anew at each call, since test
/// runners change them as they go.
struct Environment {
  std::string databricks_host;
  std::string databricks_token;
  std::string databricks_cluster_id;
  std::string label;  ///< DBCACHE_LABEL, else PYTEST_CURRENT_TEST.

  static Environment read();
};

/// A variable's value; empty where it is not set. Safe beside other readers, not beside setenv().
std::string environment_variable(const char* name);

}  // namespace dbcache::system
