#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include <dbcache/shared_clusters.hpp>

#include "coordination/coordinator.hpp"
#include "coordination/progress.hpp"

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
  coordination::Progress& progress;
  std::string owner{};  ///< The incarnation of the log.
  bool continues_earlier = false;
  std::atomic<bool> nothing_started = false;
  std::mutex mutex{};
  std::optional<std::string> started{};  ///< What `create` has said that it started.
  /// Clusters that this or an earlier creator started, and that are other configurations' too.
  std::set<std::string> of_others{};

  std::optional<std::string> started_here() {
    const std::scoped_lock guard(mutex);
    return started;
  }
  std::set<std::string> what_others_have() {
    const std::scoped_lock guard(mutex);
    return of_others;
  }
};

}  // namespace dbcache
