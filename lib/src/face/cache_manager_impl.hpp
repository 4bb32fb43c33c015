#pragma once

#include <chrono>
#include <memory>

#include <dbcache/cache_manager.hpp>

#include "store/read_cache.hpp"
#include "store/store.hpp"

namespace dbcache {

/// The state of a manager. SharedClusters of the same process use its store too.
class CacheManager::Impl {
 public:
  explicit Impl(Options options);

  const std::chrono::microseconds default_expiry;
  const std::shared_ptr<store::Store> store;
  store::ReadCache read_cache;
};

}  // namespace dbcache
