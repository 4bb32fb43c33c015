#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "store/engine.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store {

/// Caches answers that fixtures ask for again and again. Each is valid until something is
/// committed. Thread-safe.
class ReadCache final : private system::ForkAware {
 public:
  ReadCache();
  virtual ~ReadCache();

  /// The answer in that state; nothing if it is not cached.
  std::optional<std::optional<RegistryEntry>> entry(const StateId& state,
                                                    std::string_view config_hash) const;
  void keep_entry(const StateId& state, std::string_view config_hash,
                  const std::optional<RegistryEntry>& entry);

  /// The active cluster, unless it has expired meanwhile.
  std::optional<CachedCluster> active_cluster(const StateId& state, Timestamp now) const;
  void keep_active_cluster(const StateId& state, Timestamp now, const CachedCluster& cluster);

 private:
  void before_fork(Users) override { mutex_.lock(); }
  void after_fork_in_parent() override { mutex_.unlock(); }
  void after_fork_in_child() override { mutex_.unlock(); }

  void begin(const StateId& state);

  struct HashOfText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };

  mutable std::mutex mutex_;
  StateId state_{};
  std::unordered_map<std::string, std::optional<RegistryEntry>, HashOfText, std::equal_to<>>
      entries_;
  std::optional<CachedCluster> active_cluster_;
  Timestamp asked_at_{};  ///< The answer may differ for an earlier time.
};

}  // namespace dbcache::store
