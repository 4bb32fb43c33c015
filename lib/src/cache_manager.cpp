#include <algorithm>
#include <type_traits>
#include <utility>

#include <dbcache/cache_manager.hpp>

#include "commands/clusters.hpp"
#include "commands/input.hpp"
#include "commands/registry.hpp"
#include "store/store.hpp"
#include "system/environment.hpp"
#include "system/process.hpp"

namespace dbcache {

class CacheManager::Impl {
 public:
  explicit Impl(Options options)
      : default_expiry(options.default_expiry), store(std::move(options)) {
    commands::require_expiry(default_expiry);
  }

  /// Decides in one transaction and commits what the decision comes to.
  template <class Command>
  auto execute(const Command& command) {
    using Outcome = decltype(commands::decide(
        command, std::declval<const projections::TableReader&>(), Timestamp{}));
    if constexpr (std::is_same_v<Outcome, commands::Events>) {
      store.transact([&](const projections::TableReader& rows, Timestamp now) {
        return commands::decide(command, rows, now);
      });
    } else {
      decltype(Outcome::result) result{};
      store.transact([&](const projections::TableReader& rows, Timestamp now) {
        Outcome decision = commands::decide(command, rows, now);
        result = decision.result;
        return std::move(decision.events);
      });
      return result;
    }
  }

  /// What `query` makes of the tables; a missing database reads as empty ones.
  template <class Result, class Query>
  Result ask(Query query) const {
    Result result{};
    store.read(
        [&](const store::ReadSession& session) { result = query(session.tables, session.now); });
    return result;
  }

  /// DATABRICKS_CLUSTER_ID as a cluster, where it is set.
  [[nodiscard]] std::optional<CachedCluster> cluster_from_environment() const {
    const auto environment = system::Environment::read();
    if (environment.databricks_cluster_id.empty()) return std::nullopt;
    CachedCluster cluster;
    cluster.cluster_id =
        commands::require_id(environment.databricks_cluster_id, "DATABRICKS_CLUSTER_ID");
    if (!environment.databricks_host.empty()) cluster.host = environment.databricks_host;
    cluster.created_at = cluster.last_accessed = store.now();
    cluster.expiry_time = cluster.created_at + default_expiry;
    cluster.access_count = 0;
    return cluster;
  }

  const std::chrono::microseconds default_expiry;
  store::Store store;
};

CacheManager::CacheManager(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
CacheManager::~CacheManager() = default;
CacheManager::CacheManager(CacheManager&&) noexcept = default;
CacheManager& CacheManager::operator=(CacheManager&&) noexcept = default;

// ---- The cached clusters

std::optional<CachedCluster> CacheManager::load_cluster_cache() const {
  auto cluster = impl_->ask<std::optional<CachedCluster>>(commands::active_cluster);
  return cluster ? cluster : impl_->cluster_from_environment();
}

std::optional<CachedClusterInfo> CacheManager::get_cached_cluster_info() const {
  auto cluster = impl_->ask<std::optional<CachedCluster>>(commands::latest_active_cluster);
  const Timestamp now = impl_->store.now();
  CachedClusterInfo info;
  if (!cluster || !commands::is_valid(*cluster, now)) {
    if (auto stand_in = impl_->cluster_from_environment()) {
      cluster = std::move(stand_in);
      info.from_environment = true;
    }
  }
  if (!cluster) return std::nullopt;
  info.is_valid = commands::is_valid(*cluster, now);
  info.remaining = std::max(cluster->expiry_time - now, std::chrono::microseconds{0});
  info.cluster = std::move(*cluster);
  return info;
}

bool CacheManager::is_cluster_cache_valid(const CachedCluster& cluster) const {
  return commands::is_valid(cluster, impl_->store.now());
}

void CacheManager::cache_new_cluster(std::string_view cluster_id, const ClusterConfig& config) {
  impl_->execute(commands::CacheCluster{
      commands::read_cluster_input(cluster_id, config, system::Environment::read()),
      impl_->default_expiry});
}

void CacheManager::save_cluster_cache(const CachedCluster& cluster) {
  const commands::Redactor redactor(system::Environment::read().databricks_token);
  impl_->execute(
      commands::SaveCluster{commands::clean_cluster(cluster, redactor), impl_->default_expiry});
}

bool CacheManager::update_cluster_access(std::string_view cluster_id) {
  return impl_->execute(commands::AccessCluster{commands::require_id(cluster_id, "cluster id")});
}

std::vector<CachedCluster> CacheManager::get_all_clusters(const ClusterFilter& filter) const {
  return impl_->ask<std::vector<CachedCluster>>(
      [&](const projections::TableReader& rows, Timestamp now) {
        return rows.clusters(filter, now);
      });
}

CacheStatistics CacheManager::get_cache_statistics() const {
  auto statistics = impl_->ask<CacheStatistics>(
      [](const projections::TableReader& rows, Timestamp now) { return rows.statistics(now); });
  statistics.cache_file_size = impl_->store.engine().info().database_size;
  return statistics;
}

std::size_t CacheManager::cleanup_expired_clusters() {
  return impl_->execute(commands::CleanUpExpired{});
}

bool CacheManager::remove_terminated_cluster(std::string_view cluster_id) {
  return impl_->execute(commands::RemoveTerminated{commands::require_id(cluster_id, "cluster id")});
}

std::size_t CacheManager::clear_cluster_cache() {
  return impl_->execute(commands::ClearClusters{});
}

// ---- The shared clusters

bool CacheManager::register_shared_cluster_creation(std::string_view config_hash,
                                                    std::int64_t worker_pid) {
  return register_or_join_shared_cluster(config_hash, worker_pid).joinable;
}

Registration CacheManager::register_or_join_shared_cluster(std::string_view config_hash,
                                                           std::int64_t worker_pid) {
  commands::require_pid(worker_pid);
  const commands::RegisterCreation command{commands::require_id(config_hash, "config hash"),
                                           system::identify_process(worker_pid)};
  Registration registration;
  impl_->store.transact(
      [&](const projections::TableReader& rows, Timestamp now) {
        auto decision = commands::decide(command, rows, now);
        registration.created = decision.result.created;
        registration.joinable = decision.result.joinable;
        return std::move(decision.events);
      },
      [&](const projections::TableReader& rows) {
        registration.entry = rows.entry(command.config_hash).value();
      });
  return registration;
}

bool CacheManager::can_join_shared_cluster_creation(std::string_view config_hash) const {
  const auto entry = get_shared_cluster_info(config_hash);
  return entry && commands::is_joinable(*entry);
}

void CacheManager::update_shared_cluster_status(std::string_view config_hash, RegistryStatus status,
                                                const StatusDetails& details) {
  const commands::Redactor redactor(system::Environment::read().databricks_token);
  impl_->execute(commands::ChangeStatus{commands::require_id(config_hash, "config hash"), status,
                                        commands::clean_details(details, redactor)});
}

std::optional<RegistryEntry> CacheManager::get_shared_cluster_info(
    std::string_view config_hash) const {
  const std::string hash = commands::require_id(config_hash, "config hash");
  return impl_->ask<std::optional<RegistryEntry>>(
      [&](const projections::TableReader& rows, Timestamp) { return rows.entry(hash); });
}

std::int64_t CacheManager::increment_shared_cluster_usage(std::string_view config_hash) {
  return impl_->execute(commands::IncrementUsage{commands::require_id(config_hash, "config hash")});
}

std::int64_t CacheManager::decrement_shared_cluster_usage(std::string_view config_hash) {
  return impl_->execute(commands::DecrementUsage{commands::require_id(config_hash, "config hash")});
}

bool CacheManager::cleanup_shared_cluster_registry(std::string_view config_hash) {
  impl_->execute(commands::CleanUpEntry{commands::require_id(config_hash, "config hash")});
  return true;
}

std::size_t CacheManager::clear_shared_cluster_registry() {
  return impl_->execute(commands::ClearRegistry{});
}

std::vector<RegistryEntry> CacheManager::get_all_shared_clusters() const {
  return impl_->ask<std::vector<RegistryEntry>>(
      [](const projections::TableReader& rows, Timestamp) { return rows.entries(); });
}

// ---- The log

std::vector<RecordedEvent> CacheManager::history(const HistoryQuery& query) const {
  return store::history(impl_->store, query);
}

ReplayReport CacheManager::replay(const ReplayOptions& options) {
  return store::replay(impl_->store, options);
}

VerifyReport CacheManager::verify(const VerifyOptions& options) const {
  return store::verify(impl_->store, options);
}

// ---- The database

void CacheManager::optimize_database(Vacuum vacuum) { impl_->store.engine().optimize(vacuum); }

DatabaseInfo CacheManager::get_database_info() const {
  // The files first: reading makes a WAL where there was none.
  DatabaseInfo info = impl_->store.engine().info();
  const bool exists = impl_->store.read(
      [&](const store::ReadSession& session) { info.events = session.log.last_position(); });
  if (exists) info.schema_version = impl_->store.engine().schema_version();
  return info;
}

std::optional<AdoptionReport> CacheManager::adoption() const {
  return impl_->store.engine().adoption();
}

}  // namespace dbcache
