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

// Checks and cleans what users give, before it becomes a command.
namespace dbcache::input {

inline constexpr std::size_t max_id_bytes = 255;
inline constexpr std::size_t max_error_message_bytes = std::size_t{64} << 10;
inline constexpr std::size_t max_label_bytes = std::size_t{1} << 10;

/// Returns `id` if it is 1 to 255 bytes of UTF-8 without NUL; else throws InvalidArgument that
/// names `what`.
std::string require_id(std::string_view id, std::string_view what);

/// Returns `id` if it may become the id of a cluster: besides, it has no blanks, control or
/// invisible characters, brackets or quotes, and is not a word for nothing. Else throws
/// InvalidArgument. Ids that a database has already need only `require_id`.
std::string require_cluster_id(std::string_view id, std::string_view what = "cluster id");

/// Throws InvalidArgument unless the pid is 1 or more.
void require_pid(std::int64_t pid);

/// The label as the log keeps it: valid UTF-8, without secrets, cut to the limit. Never throws,
/// since the odd name of a test must not cost it its cluster.
std::string clean_label(std::string_view label, const Redactor& redactor);

/// Requires UTF-8 without NUL. Removes secrets, and cuts to the limit with a note of the full
/// length.
std::string clean_error_message(std::string_view message, const Redactor& redactor);

/// The details with a checked cluster id and a cleaned message.
StatusDetails clean_details(const StatusDetails& details, const Redactor& redactor);

/// A cluster to cache: its configuration, and its columns except those that depend on the time.
struct ClusterInput {
  std::string cluster_id;
  std::optional<std::string> cluster_name;
  std::optional<std::string> host;
  std::optional<std::int64_t> num_workers;
  std::string status = "RUNNING";
  std::optional<Timestamp> created_at;
  bool is_shared = false;
  boost::json::object configuration;  ///< As given, without secrets.
};

/// Reads the documented keys of a configuration. Throws InvalidArgument for a value of the wrong
/// type.
ClusterInput read_cluster_input(std::string_view cluster_id, const ClusterConfig& config,
                                const system::Environment& environment);

/// Reads the columns of `clusters` from the keys of an object. A missing column is as in a new
/// CachedCluster. Throws InvalidArgument for a value of the wrong type.
CachedCluster read_columns(const boost::json::object& columns);

/// The keys of an object that are not columns of `clusters`, without secrets. Throws
/// InvalidArgument if they are larger than a configuration may be.
boost::json::object read_more_than_columns(const boost::json::object& given,
                                           const Redactor& redactor);

/// The address of a workspace, as users paste it, without what does not name the workspace:
/// `https://adb-1.example:8443`, in lower case. Cuts off user information, path, query, fragment,
/// the scheme's default port and the dot behind a complete name. Without a scheme it is https.
/// Empty if there is no host name.
std::string normalised_host(std::string_view given);

/// The workspace of a configuration, or else DATABRICKS_HOST, if either names one; normalised.
std::optional<std::string> workspace_host(const boost::json::object& configuration,
                                          const system::Environment& environment);

/// Whether a configuration names its workspace.
bool names_host(const ClusterConfig& config);

/// The configuration for this host, unless it names one itself. Empty: as it is.
ClusterConfig with_host(const ClusterConfig& config, const std::string& host);

/// Makes any text fit for the log: valid UTF-8 without NUL, without secrets, cut to the limit.
std::string clean_any_message(std::string_view message, const Redactor& redactor);

/// A row from a user: checks ids, texts, numbers and times, and removes secrets from texts.
CachedCluster clean_cluster(const CachedCluster& cluster, const Redactor& redactor);

/// Throws InvalidArgument unless the expiry is 0 to 100 years.
void require_expiry(std::chrono::microseconds expiry);

}  // namespace dbcache::input
