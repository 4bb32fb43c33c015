#pragma once

#include <string>

namespace dbcache::system {

/// The variables that calls use; empty if not set. Calls read them anew each time, since test
/// runners change them during a run.
struct Environment {
  std::string databricks_host;
  std::string databricks_token;
  std::string databricks_cluster_id;
  std::string label;  ///< DBCACHE_LABEL, or else PYTEST_CURRENT_TEST.

  static Environment read();
};

/// The value of a variable; empty if not set. Safe with concurrent readers, but not with setenv().
std::string environment_variable(const char* name);

}  // namespace dbcache::system
