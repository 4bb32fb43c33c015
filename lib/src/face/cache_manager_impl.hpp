#pragma once

#include <chrono>
#include <memory>

#include <dbcache/cache_manager.hpp>

#include "store/memo.hpp"
#include "store/store.hpp"

namespace dbcache {

/// What a manager has, and shares with those who work on the same database in the same process.
class CacheManager::Impl {
 public:
  explicit Impl(Options options);

  const std::chrono::microseconds default_expiry;
  const std::shared_ptr<store::Store> store;
  store::Memo memo;
};

}  // namespace dbcache
