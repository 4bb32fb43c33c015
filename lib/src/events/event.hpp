#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "system/process.hpp"

// The events. Each payload holds everything its projection needs, times included. To add one: a
// struct here with its name, schema number and description (event.cpp), a line in the variant, an
// overload of `project`, and a golden file (docs/architecture.md goes through it).
//
// A payload's form is kept for good: to change one, raise its `schema` and teach `upcast`
// (event.cpp) to read the older forms.
namespace dbcache::events {

/// A cluster was cached; its row begins, or begins anew.
struct ClusterCached {
  static constexpr std::string_view type = "ClusterCached";
  static constexpr int schema = 1;
  CachedCluster cluster;
  boost::json::object configuration;  ///< As given, secrets apart.
};

/// A row found in an adopted database.
struct ClusterImported {
  static constexpr std::string_view type = "ClusterImported";
  static constexpr int schema = 1;
  CachedCluster cluster;           ///< As normalised.
  boost::json::object original;    ///< As it was, secrets apart.
  std::vector<std::string> notes;  ///< What could not be taken as it was.
};

/// Another cluster became the active one.
struct ClusterDeactivated {
  static constexpr std::string_view type = "ClusterDeactivated";
  static constexpr int schema = 1;
  std::string cluster_id;
  std::string active_cluster_id;
};

struct ClusterAccessed {
  static constexpr std::string_view type = "ClusterAccessed";
  static constexpr int schema = 1;
  std::string cluster_id;
  Timestamp last_accessed;
  std::int64_t access_count = 0;  ///< After it.
};

/// A cluster past its expiry was cleaned up; its row goes.
struct ClusterExpired {
  static constexpr std::string_view type = "ClusterExpired";
  static constexpr int schema = 1;
  std::string cluster_id;
  Timestamp expiry_time;
};

enum class ClusterRemovalReason { cleared, terminated, lost };
std::string_view to_string(ClusterRemovalReason reason) noexcept;
void from_string(std::string_view word, ClusterRemovalReason& reason);

/// A cluster's row goes.
struct ClusterRemoved {
  static constexpr std::string_view type = "ClusterRemoved";
  static constexpr int schema = 1;
  std::string cluster_id;
  ClusterRemovalReason reason = ClusterRemovalReason::cleared;
};

/// A worker began to create the cluster of a configuration; its entry begins.
struct CreationRegistered {
  static constexpr std::string_view type = "CreationRegistered";
  static constexpr int schema = 1;
  std::string config_hash;
  Timestamp creation_time;
  system::ProcessIdentity worker;
};

/// A row found in an adopted database.
struct EntryImported {
  static constexpr std::string_view type = "EntryImported";
  static constexpr int schema = 1;
  RegistryEntry entry;
  boost::json::object original;
  std::vector<std::string> notes;
};

/// Status, cluster id and error message are set to what stands here.
struct RegistryStatusChanged {
  static constexpr std::string_view type = "RegistryStatusChanged";
  static constexpr int schema = 1;
  std::string config_hash;
  RegistryStatus from = RegistryStatus::creating;
  RegistryStatus to = RegistryStatus::creating;
  std::optional<std::string> cluster_id;
  std::optional<std::string> error_message;
};

struct UsageIncremented {
  static constexpr std::string_view type = "UsageIncremented";
  static constexpr int schema = 1;
  std::string config_hash;
  std::int64_t usage_count = 0;  ///< After it.
};

struct UsageDecremented {
  static constexpr std::string_view type = "UsageDecremented";
  static constexpr int schema = 1;
  std::string config_hash;
  std::int64_t usage_count = 0;  ///< After it.
};

enum class EntryRemovalReason { cleaned_up };
std::string_view to_string(EntryRemovalReason reason) noexcept;
void from_string(std::string_view word, EntryRemovalReason& reason);

/// An entry goes.
struct RegistryEntryRemoved {
  static constexpr std::string_view type = "RegistryEntryRemoved";
  static constexpr int schema = 1;
  std::string config_hash;
  EntryRemovalReason reason = EntryRemovalReason::cleaned_up;
};

using Event =
    std::variant<ClusterCached, ClusterImported, ClusterDeactivated, ClusterAccessed,
                 ClusterExpired, ClusterRemoved, CreationRegistered, EntryImported,
                 RegistryStatusChanged, UsageIncremented, UsageDecremented, RegistryEntryRemoved>;

inline constexpr std::string_view cluster_stream_prefix = "cluster-";
inline constexpr std::string_view registry_stream_prefix = "registry-";
std::string cluster_stream(std::string_view cluster_id);
std::string registry_stream(std::string_view config_hash);

/// The stream that an event belongs to.
std::string stream_of(const Event& event);
std::string_view type_of(const Event& event);
std::string payload_of(const Event& event);

bool is_known_type(std::string_view type);

/// Reads a stored payload, older schemas upcast to the present one. Throws CorruptDatabase for what
/// is not a payload of that type, and NewerSchema for one of a newer schema.
Event parse_event(std::string_view type, std::string_view payload);

}  // namespace dbcache::events
