#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <boost/describe.hpp>
#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "rows/lease_rows.hpp"

// The documented columns in their order, listed once. All code that walks the columns of a row
// (payloads, comparisons, JSON, changes of an event) uses these lists.
namespace dbcache {

BOOST_DESCRIBE_STRUCT(CachedCluster, (),
                      (id, cluster_id, cluster_name, host, num_workers, status, created_at,
                       expiry_time, last_accessed, access_count, is_active, is_shared))
BOOST_DESCRIBE_STRUCT(RegistryEntry, (),
                      (id, config_hash, cluster_id, status, worker_pid, creation_time, usage_count,
                       error_message))

}  // namespace dbcache

namespace dbcache::rows {

template <class T>
inline constexpr bool is_row = std::is_same_v<T, CachedCluster> || std::is_same_v<T, RegistryEntry>;

/// The names of the documented tables.
inline constexpr std::string_view clusters_table = "clusters";
inline constexpr std::string_view registry_table = "shared_cluster_registry";

/// Every projected table, in the order in which they are compared.
inline constexpr std::array<std::string_view, 6> projected_tables{
    clusters_table,    registry_table, Share::table, Lease::table, PendingTermination::table,
    Participant::table};

/// A row as a table stores it: columns in order, times in the stored form, booleans as 0 and 1,
/// structs and lists as JSON text.
boost::json::object stored_columns(const CachedCluster& row);
boost::json::object stored_columns(const RegistryEntry& row);
boost::json::object stored_columns(const Share& row);
boost::json::object stored_columns(const Lease& row);
boost::json::object stored_columns(const PendingTermination& row);
boost::json::object stored_columns(const Participant& row);

/// Any row of a projected table, readable even if its columns hold invalid values.
struct RawRow {
  std::string key;
  boost::json::object columns;
};

}  // namespace dbcache::rows
