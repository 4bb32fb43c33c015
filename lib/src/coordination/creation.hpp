#pragma once

#include <chrono>
#include <cstdint>
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
  std::int64_t fencing_token = 0;
  std::optional<std::string> started_cluster_id;
  std::chrono::steady_clock::time_point deadline;
  std::stop_token stop;
  const store::LifeLock& lock;  ///< The creator's.
};

}  // namespace dbcache
