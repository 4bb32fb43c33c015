#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <dbcache/cache_manager.hpp>

#include "commands/clusters.hpp"
#include "commands/registry.hpp"
#include "coordination/open_store.hpp"
#include "coordination/transact.hpp"
#include "coordination/waiter.hpp"
#include "face/cache_manager_impl.hpp"
#include "input/input.hpp"
#include "store/clusters_where.hpp"
#include "system/environment.hpp"
#include "system/process.hpp"

namespace dbcache {

CacheManager::Impl::Impl(Options options)
    : default_expiry(options.default_expiry), store(coordination::open_store(std::move(options))) {
  input::require_expiry(default_expiry);
}

namespace {

/// Decides in one transaction, commits the events of the decision, and returns its result.
template <class Command>
auto execute(store::Store& store, const Command& command) {
  decltype(decide(command, std::declval<const rows::Present&>()).result) result{};
  store.transact([&](const rows::Present& present) {
    auto decision = decide(command, present);
    result = std::move(decision.result);
    return std::move(decision.events);
  });
  return result;
}

/// The same for a command whose decision depends on live leases.
template <class Command>
auto execute_among_leases(store::Store& store, const Command& command) {
  if (!store.engine().exists()) return execute(store, command);
  return coordination::commit(store, command).first.result;
}

/// The result of `query` on the tables. A missing database reads as empty tables.
template <class Result, class Query>
Result ask(const store::Store& store, Query query) {
  Result result{};
  store.read(
      [&](const store::ReadSession& session) { result = query(session.tables, session.now); });
  return result;
}

/// The cluster of DATABRICKS_CLUSTER_ID, if that is set.
std::optional<CachedCluster> cluster_from_environment(Timestamp now,
                                                      std::chrono::microseconds expiry) {
  const auto environment = system::Environment::read();
  if (environment.databricks_cluster_id.empty()) return std::nullopt;
  CachedCluster cluster;
  cluster.cluster_id =
      input::require_cluster_id(environment.databricks_cluster_id, "DATABRICKS_CLUSTER_ID");
  cluster.host = input::workspace_host({}, environment);
  cluster.created_at = cluster.last_accessed = now;
  cluster.expiry_time = now + expiry;
  cluster.access_count = 0;
  return cluster;
}

}  // namespace

CacheManager::CacheManager(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
CacheManager::~CacheManager() = default;
CacheManager::CacheManager(CacheManager&&) noexcept = default;
CacheManager& CacheManager::operator=(CacheManager&&) noexcept = default;

// ---- The cached clusters

std::optional<CachedCluster> CacheManager::load_cluster_cache() const {
  const Timestamp now = impl_->store->now();
  const auto state = impl_->store->engine().state();
  if (state) {
    if (auto kept = impl_->read_cache.active_cluster(*state, now)) return kept;
  }
  auto cluster = ask<std::optional<CachedCluster>>(
      *impl_->store,
      [&](const rows::TableReader& rows, Timestamp) { return rows.active_cluster(now); });
  // Nothing was committed while it was read.
  if (cluster && state && impl_->store->engine().state() == state) {
    impl_->read_cache.keep_active_cluster(*state, now, *cluster);
  }
  return cluster ? cluster : cluster_from_environment(now, impl_->default_expiry);
}

std::optional<CachedClusterInfo> CacheManager::get_cached_cluster_info() const {
  auto cluster = ask<std::optional<CachedCluster>>(*impl_->store, commands::latest_active_cluster);
  const Timestamp now = impl_->store->now();
  CachedClusterInfo info;
  if (!cluster || !commands::is_valid(*cluster, now)) {
    if (auto stand_in = cluster_from_environment(impl_->store->now(), impl_->default_expiry)) {
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
  return commands::is_valid(cluster, impl_->store->now());
}

void CacheManager::cache_new_cluster(std::string_view cluster_id, const ClusterConfig& config) {
  execute(*impl_->store,
          commands::CacheCluster{
              input::read_cluster_input(cluster_id, config, system::Environment::read()),
              impl_->default_expiry});
}

void CacheManager::save_cluster_cache(const CachedCluster& cluster) {
  const input::Redactor redactor(system::Environment::read().databricks_token);
  execute(*impl_->store,
          commands::SaveCluster{input::clean_cluster(cluster, redactor), impl_->default_expiry});
}

void CacheManager::save_cluster_cache(const ClusterConfig& columns) {
  const input::Redactor redactor(system::Environment::read().databricks_token);
  const auto& given = columns.values();
  execute(
      *impl_->store,
      commands::SaveCluster{input::clean_cluster(input::read_columns(given), redactor),
                            impl_->default_expiry, input::read_more_than_columns(given, redactor)});
}

bool CacheManager::update_cluster_access(std::string_view cluster_id) {
  return execute(*impl_->store,
                 commands::AccessCluster{input::require_id(cluster_id, "cluster id")});
}

std::vector<CachedCluster> CacheManager::get_all_clusters(const ClusterFilter& filter) const {
  return ask<std::vector<CachedCluster>>(
      *impl_->store,
      [&](const rows::TableReader& rows, Timestamp now) { return rows.clusters(filter, now); });
}

std::vector<CachedCluster> CacheManager::get_clusters_where(std::string_view condition) const {
  return store::clusters_where(get_all_clusters(), condition);
}

CacheStatistics CacheManager::get_cache_statistics() const {
  auto statistics = ask<CacheStatistics>(
      *impl_->store,
      [](const rows::TableReader& rows, Timestamp now) { return rows.statistics(now); });
  statistics.cache_file_size = impl_->store->engine().info().database_size;
  return statistics;
}

std::size_t CacheManager::cleanup_expired_clusters() {
  return cleanup_expired_clusters(HeldClusters::leave).removed;
}

Removal CacheManager::cleanup_expired_clusters(HeldClusters held) {
  return execute_among_leases(*impl_->store, commands::CleanUpExpired{held});
}

bool CacheManager::remove_terminated_cluster(std::string_view cluster_id) {
  return execute(*impl_->store,
                 commands::RemoveTerminated{input::require_id(cluster_id, "cluster id")});
}

std::size_t CacheManager::clear_cluster_cache() {
  return clear_cluster_cache(HeldClusters::leave).removed;
}

Removal CacheManager::clear_cluster_cache(HeldClusters held) {
  return execute_among_leases(*impl_->store, commands::ClearClusters{held});
}

// ---- The shared clusters

bool CacheManager::register_shared_cluster_creation(std::string_view config_hash,
                                                    std::int64_t worker_pid) {
  return register_or_join_shared_cluster(config_hash, worker_pid).joinable;
}

Registration CacheManager::register_or_join_shared_cluster(std::string_view config_hash,
                                                           std::int64_t worker_pid) {
  input::require_pid(worker_pid);
  const commands::RegisterCreation command{input::require_id(config_hash, "config hash"),
                                           system::identify_process(worker_pid)};
  Registration registration;
  impl_->store->transact(
      [&](const rows::Present& present) {
        auto decision = commands::decide(command, present);
        registration.created = decision.result.created;
        registration.joinable = decision.result.joinable;
        return std::move(decision.events);
      },
      [&](const rows::TableReader& rows) {
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
  const input::Redactor redactor(system::Environment::read().databricks_token);
  execute_among_leases(*impl_->store,
                       commands::ChangeStatus{input::require_id(config_hash, "config hash"), status,
                                              input::clean_details(details, redactor)});
}

std::optional<RegistryEntry> CacheManager::get_shared_cluster_info(
    std::string_view config_hash) const {
  const std::string hash = input::require_id(config_hash, "config hash");
  const auto state = impl_->store->engine().state();
  if (state) {
    if (auto kept = impl_->read_cache.entry(*state, hash)) return std::move(*kept);
  }
  auto entry = ask<std::optional<RegistryEntry>>(
      *impl_->store, [&](const rows::TableReader& rows, Timestamp) { return rows.entry(hash); });
  // Nothing was committed while it was read.
  if (state && impl_->store->engine().state() == state) {
    impl_->read_cache.keep_entry(*state, hash, entry);
  }
  return entry;
}

std::int64_t CacheManager::increment_shared_cluster_usage(std::string_view config_hash) {
  return execute(*impl_->store,
                 commands::IncrementUsage{input::require_id(config_hash, "config hash")});
}

std::int64_t CacheManager::decrement_shared_cluster_usage(std::string_view config_hash) {
  return execute_among_leases(
      *impl_->store, commands::DecrementUsage{input::require_id(config_hash, "config hash")});
}

bool CacheManager::cleanup_shared_cluster_registry(std::string_view config_hash) {
  return cleanup_shared_cluster_registry(config_hash, HeldClusters::leave).held.empty();
}

Removal CacheManager::cleanup_shared_cluster_registry(std::string_view config_hash,
                                                      HeldClusters held) {
  return execute_among_leases(
      *impl_->store, commands::CleanUpEntry{input::require_id(config_hash, "config hash"), held});
}

std::size_t CacheManager::clear_shared_cluster_registry() {
  return clear_shared_cluster_registry(HeldClusters::leave).removed;
}

Removal CacheManager::clear_shared_cluster_registry(HeldClusters held) {
  return execute_among_leases(*impl_->store, commands::ClearRegistry{held});
}

std::vector<RegistryEntry> CacheManager::get_all_shared_clusters() const {
  return ask<std::vector<RegistryEntry>>(
      *impl_->store, [](const rows::TableReader& rows, Timestamp) { return rows.entries(); });
}

// ---- The log

std::vector<RecordedEvent> CacheManager::history(const HistoryQuery& query) const {
  return store::history(*impl_->store, query);
}

std::vector<RecordedEvent> CacheManager::wait_for_events(std::int64_t from_position,
                                                         const WatchOptions& options) const {
  if (from_position < 1) {
    throw InvalidArgument(
        fmt::format("the position is {}, but the log begins at 1; give 1 or more", from_position));
  }
  if (options.limit == 0) throw InvalidArgument("the limit is 0 events; give 1 or more");
  using Waiter = coordination::Waiter;
  constexpr std::chrono::milliseconds longest = std::chrono::years{100};
  const auto deadline =
      std::chrono::steady_clock::now() + std::min(options.timeout.value_or(longest), longest);
  for (Waiter waiter(impl_->store->engine(), std::nullopt, options.stop);;) {
    if (options.stop.stop_requested()) throw Cancelled("the wait for events was cancelled");
    auto events = store::events_from(*impl_->store, from_position, options.limit);
    if (!events.empty() || std::chrono::steady_clock::now() >= deadline) return events;
    waiter.sleep(deadline);
  }
}

ReplayReport CacheManager::replay(const ReplayOptions& options) {
  return store::replay(*impl_->store, options);
}

VerifyReport CacheManager::verify(const VerifyOptions& options) const {
  return store::verify(*impl_->store, options);
}

// ---- The database

void CacheManager::create_database() {
  impl_->store->transact_in_steps([](store::Store::Transaction&) {});
}

void CacheManager::optimize_database(Vacuum vacuum) { impl_->store->engine().optimize(vacuum); }

DatabaseInfo CacheManager::get_database_info() const {
  // Look at the files first: reading creates a WAL if there is none.
  DatabaseInfo info = impl_->store->engine().info();
  const bool exists = impl_->store->read([&](const store::ReadSession& session) {
    info.last_position = session.log.last_position();
    info.events = session.log.size();
    const auto closed = session.log.closed();
    info.closed =
        closed ? std::optional(refusal(*closed, impl_->store->engine().name())) : std::nullopt;
  });
  if (exists) info.schema_version = impl_->store->engine().schema_version();
  return info;
}

DatabaseLocation CacheManager::database_location() const {
  return impl_->store->engine().location();
}

std::optional<AdoptionReport> CacheManager::adoption() const {
  return impl_->store->engine().adoption();
}

}  // namespace dbcache
