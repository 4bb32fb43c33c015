#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include <dbcache/shared_clusters.hpp>

#include "coordination/coordinator.hpp"

namespace dbcache {

/// The state behind a Creation.
class Creation::Impl {
 public:
  const coordination::Coordinator& coordinator;
  std::string config_hash;
  std::string idempotency_token;
  rows::EventName name;
  std::optional<std::string> started_cluster_id;
  std::chrono::steady_clock::time_point deadline;
  std::stop_token stop;
  const store::LifeLock& lock;  ///< The creator's.
  std::mutex mutex{};
  std::optional<std::string> started{};  ///< What `create` has said that it started.
  /// A cluster that this or an earlier creator started, and that is another configuration's too.
  std::optional<std::string> kept_by_others{};

  std::optional<std::string> started_here() {
    const std::scoped_lock guard(mutex);
    return started;
  }
  std::optional<std::string> what_others_keep() {
    const std::scoped_lock guard(mutex);
    return kept_by_others;
  }
};

}  // namespace dbcache
