#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <dbcache/export.hpp>
#include <dbcache/time.hpp>

namespace dbcache {

/// Where the shared cluster of a configuration stands. Any may follow any other.
enum class RegistryStatus {
  creating,  ///< A worker starts it; others may wait for it.
  ready,     ///< It runs; cluster_id names it.
  failed,    ///< Its creation failed; error_message says why.
};

/// The stored word: "creating", "ready" or "failed".
[[nodiscard]] DBCACHE_EXPORT std::string_view to_string(RegistryStatus status) noexcept;

/// The status of a stored word. Throws InvalidArgument for another. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT RegistryStatus parse_registry_status(std::string_view word);

/// A row of the documented table `shared_cluster_registry`; the fields carry its column names.
struct RegistryEntry {
  std::int64_t id = 0;  ///< Position of the event that made the row.
  std::string config_hash;
  std::optional<std::string> cluster_id;  ///< Need not name a cached cluster.
  RegistryStatus status = RegistryStatus::creating;
  std::optional<std::int64_t> worker_pid;
  Timestamp creation_time{};
  std::int64_t usage_count = 0;
  std::optional<std::string> error_message;

  bool operator==(const RegistryEntry&) const = default;
};

/// What goes with a change of status.
struct StatusDetails {
  std::optional<std::string> cluster_id{};     ///< Kept as it was where none is given.
  std::optional<std::string> error_message{};  ///< Cleared where none is given. At most 64 KiB are
                                               ///< kept.
};

/// What `register_or_join_shared_cluster` found or did.
struct Registration {
  bool created = false;   ///< This call made the entry: its caller is to create the cluster.
  bool joinable = false;  ///< The entry is creating or ready.
  RegistryEntry entry;    ///< As it stands after the call.
};

}  // namespace dbcache
