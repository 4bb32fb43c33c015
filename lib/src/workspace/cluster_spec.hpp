#pragma once

#include <cstdint>
#include <string>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>

namespace dbcache::workspace {

/// What marks a new cluster, so that it is found again.
struct Marks {
  std::string token;        ///< The creation's idempotency token.
  std::string config_hash;  ///< Of the configuration, of which the tag has 32 digits: Google Cloud
                            ///< takes at most 63 characters.
  std::string owner;        ///< The log that has the creation.
};

/// The body of clusters/create for a configuration. Leaves out the keys that are dbcache's own or
/// name a secret at the top level. Nested ones are the cluster's own and go along. Pure. Throws
/// databricks::InvalidClusterConfig for tags that Databricks does not take.
boost::json::object cluster_spec(const ClusterConfig& config, const Marks& marks,
                                 std::int64_t autotermination_minutes);

}  // namespace dbcache::workspace
