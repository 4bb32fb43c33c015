#include "store/read_cache.hpp"

namespace dbcache::store {
namespace {

/// Fixtures ask for only a few entries.
constexpr std::size_t most_entries = 64;

}  // namespace

ReadCache::ReadCache() { system::ForkGate::instance().enroll(*this); }
ReadCache::~ReadCache() { system::ForkGate::instance().withdraw(*this); }

std::optional<std::optional<RegistryEntry>> ReadCache::entry(const StateId& state,
                                                             std::string_view config_hash) const {
  const std::lock_guard lock(mutex_);
  if (state_ != state) return std::nullopt;
  const auto found = entries_.find(config_hash);
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

void ReadCache::keep_entry(const StateId& state, std::string_view config_hash,
                           const std::optional<RegistryEntry>& entry) {
  const std::lock_guard lock(mutex_);
  begin(state);
  if (entries_.size() == most_entries) entries_.clear();
  entries_.insert_or_assign(std::string(config_hash), entry);
}

std::optional<CachedCluster> ReadCache::active_cluster(const StateId& state, Timestamp now) const {
  const std::lock_guard lock(mutex_);
  if (state_ != state || !active_cluster_ || now < asked_at_ ||
      active_cluster_->expiry_time <= now) {
    return std::nullopt;
  }
  return active_cluster_;
}

void ReadCache::keep_active_cluster(const StateId& state, Timestamp now,
                                    const CachedCluster& cluster) {
  const std::lock_guard lock(mutex_);
  begin(state);
  active_cluster_ = cluster;
  asked_at_ = now;
}

void ReadCache::begin(const StateId& state) {
  if (state_ == state) return;
  state_ = state;
  entries_.clear();
  active_cluster_.reset();
}

}  // namespace dbcache::store
