#pragma once

#include <string_view>
#include <vector>

#include <dbcache/cluster.hpp>

namespace dbcache::store {

/// The rows, in their order, for which an SQL condition over the columns of `clusters` holds. The
/// condition meets nothing but a copy of them in memory, whatever the engine they came from is: it
/// may read that copy and call functions that only compute, for so many steps. Throws
/// InvalidArgument for any other.
std::vector<CachedCluster> clusters_where(std::vector<CachedCluster> rows,
                                          std::string_view condition);

}  // namespace dbcache::store
