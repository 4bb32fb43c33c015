#include "system/environment.hpp"

#include <cstdlib>

namespace dbcache::system {

std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Environment Environment::read() {
  Environment environment{
      environment_variable("DATABRICKS_HOST"), environment_variable("DATABRICKS_TOKEN"),
      environment_variable("DATABRICKS_CLUSTER_ID"), environment_variable("DBCACHE_LABEL")};
  if (environment.label.empty()) environment.label = environment_variable("PYTEST_CURRENT_TEST");
  return environment;
}

}  // namespace dbcache::system
