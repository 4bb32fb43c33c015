#pragma once

#include <string>

#include <boost/json/object.hpp>

#include "workspace/clusters_api.hpp"

namespace dbcache::workspace {

/// Replaces the values of `spark_version` and `node_type_id` that begin with `auto:` by what the
/// workspace has now: `auto:latest`, `auto:latest-lts`, `auto:latest-lts-ml`; `auto:smallest`.
/// Throws databricks::InvalidClusterConfig for another word, or if the workspace has none.
void resolve_auto(boost::json::object& spec, const ClustersApi& clusters, const Bounds& bounds);

/// The newest version in an answer of clusters/spark-versions: neither Beta nor Light, neither
/// Photon nor for GPUs or ARM, which a configuration asks for in other ways. Of two for the same
/// version, the one with the older Scala, which is the default. Empty if there is none. Pure.
std::string latest_spark_version(const boost::json::object& answer, bool long_term, bool ml);

/// The node type with the fewest cores, then the least memory, in an answer of
/// clusters/list-node-types: not deprecated or hidden, without GPUs, not ARM. Empty if there is
/// none. Pure.
std::string smallest_node_type(const boost::json::object& answer);

}  // namespace dbcache::workspace
