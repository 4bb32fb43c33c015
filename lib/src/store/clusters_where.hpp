#pragma once

#include <string_view>
#include <vector>

#include <dbcache/cluster.hpp>

namespace dbcache::store {

/// The rows, in their order, that satisfy an SQL condition over the columns of `clusters`. On every
/// engine SQLite evaluates it on a copy of the rows in memory. The condition may read only that
/// copy, call functions that only compute, and take a limited number of steps. Throws
/// InvalidArgument for any other condition.
std::vector<CachedCluster> clusters_where(std::vector<CachedCluster> rows,
                                          std::string_view condition);

}  // namespace dbcache::store
