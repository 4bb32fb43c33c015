#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "input/redact.hpp"
#include "system/environment.hpp"

// What users give, checked and cleaned, before a command is made of it.
namespace dbcache::input {

inline constexpr std::size_t max_id_bytes = 255;
inline constexpr std::size_t max_error_message_bytes = std::size_t{64} << 10;
inline constexpr std::size_t max_label_bytes = std::size_t{1} << 10;

/// 1 to 255 bytes of UTF-8 without NUL; InvalidArgument that names `what` otherwise.
std::string require_id(std::string_view id, std::string_view what);

/// A pid is 1 or more.
void require_pid(std::int64_t pid);

/// The label as the log keeps it: valid UTF-8, without secrets, cut to its most bytes. Never
/// refused: a test's odd name must not fail its cluster.
std::string clean_label(std::string_view label, const Redactor& redactor);

/// UTF-8 without NUL, without secrets, cut to its most bytes with a note of how long it was.
std::string clean_error_message(std::string_view message, const Redactor& redactor);

/// Details with ids checked and the message cleaned.
StatusDetails clean_details(const StatusDetails& details, const Redactor& redactor);

/// A cluster to be cached: its columns but those that depend on the moment, and its configuration.
struct ClusterInput {
  std::string cluster_id;
  std::optional<std::string> cluster_name;
  std::optional<std::string> host;
  std::optional<std::int64_t> num_workers;
  std::string status = "RUNNING";
  std::optional<Timestamp> created_at;
  bool is_shared = false;
  boost::json::object configuration;  ///< As given, secrets apart.
};

/// Reads the documented keys of a configuration. InvalidArgument for one of the wrong kind.
ClusterInput read_cluster_input(std::string_view cluster_id, const ClusterConfig& config,
                                const system::Environment& environment);

/// The columns of `clusters` that an object has under their names; what is missing is as in a new
/// CachedCluster. InvalidArgument for one of the wrong kind.
CachedCluster read_columns(const boost::json::object& columns);

/// What an object has beside the columns of `clusters`, secrets apart. InvalidArgument where that
/// is more than a configuration may hold.
boost::json::object read_more_than_columns(const boost::json::object& given,
                                           const Redactor& redactor);

/// The workspace of a configuration: https://, without a trailing slash, scheme and host in lower
/// case; DATABRICKS_HOST where it names none; nothing where there is neither.
std::optional<std::string> workspace_host(const boost::json::object& configuration,
                                          const system::Environment& environment);

/// Any text as one that can be kept: valid UTF-8 without NUL, without secrets, not too long.
std::string clean_any_message(std::string_view message, const Redactor& redactor);

/// A row given whole: ids and texts checked, secrets taken out of its texts.
CachedCluster clean_cluster(const CachedCluster& cluster, const Redactor& redactor);

/// 0 to 100 years.
void require_expiry(std::chrono::microseconds expiry);

}  // namespace dbcache::input
