#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <dbcache/export.hpp>
#include <dbcache/time.hpp>

namespace dbcache {

/// The state of a configuration's shared cluster. Any state may follow any other.
enum class RegistryStatus {
  creating,  ///< A worker creates the cluster. Others may wait for it.
  ready,     ///< The cluster runs. RegistryEntry::cluster_id names it.
  failed,    ///< The creation failed. RegistryEntry::error_message says why.
};

/// The stored word: "creating", "ready" or "failed". Never throws. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string_view to_string(RegistryStatus status) noexcept;

/// The status of a stored word. Throws InvalidArgument for any other word. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT RegistryStatus parse_registry_status(std::string_view word);

/// A row of the documented table `shared_cluster_registry`: one configuration's shared cluster. The
/// fields have the names of the columns.
struct RegistryEntry {
  std::int64_t id = 0;  ///< The position of the event that made the row.
  std::string config_hash;
  std::optional<std::string> cluster_id;  ///< Need not name a cached cluster.
  RegistryStatus status = RegistryStatus::creating;
  std::optional<std::int64_t> worker_pid;  ///< The process that creates, or created, the cluster.
  Timestamp creation_time{};               ///< When the newest creation began.
  /// The number of live leases, plus 1 while `acquire` creates, plus the documented uses.
  std::int64_t usage_count = 0;
  std::optional<std::string> error_message;  ///< Why the creation failed.

  bool operator==(const RegistryEntry&) const = default;
};

/// The other columns of a change of status.
struct StatusDetails {
  std::optional<std::string> cluster_id{};     ///< Empty: the entry's stays as it is.
  std::optional<std::string> error_message{};  ///< Empty: the entry's is cleared. Cut at 64 KiB.
};

/// The result of `register_or_join_shared_cluster`.
struct Registration {
  bool created = false;   ///< This call made the entry, so its caller creates the cluster.
  bool joinable = false;  ///< The entry is creating or ready.
  RegistryEntry entry;    ///< The entry after the call.
};

}  // namespace dbcache
