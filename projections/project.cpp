#include "projections/project.hpp"

#include <variant>

namespace dbcache::projections {
namespace {

using namespace events;

template <class Row>
void put_new(Row row, std::int64_t position, Tables& tables) {
  row.id = position;
  tables.put(row);
}

template <class Change>
void change_cluster(std::string_view cluster_id, Tables& tables, Change change) {
  if (auto row = tables.cluster(cluster_id)) {
    change(*row);
    tables.put(*row);
  }
}

template <class Change>
void change_entry(std::string_view config_hash, Tables& tables, Change change) {
  if (auto row = tables.entry(config_hash)) {
    change(*row);
    tables.put(*row);
  }
}

void apply(const ClusterCached& event, std::int64_t position, Tables& tables) {
  put_new(event.cluster, position, tables);
}

void apply(const ClusterImported& event, std::int64_t position, Tables& tables) {
  put_new(event.cluster, position, tables);
}

void apply(const ClusterDeactivated& event, std::int64_t, Tables& tables) {
  change_cluster(event.cluster_id, tables, [](CachedCluster& row) { row.is_active = false; });
}

void apply(const ClusterAccessed& event, std::int64_t, Tables& tables) {
  change_cluster(event.cluster_id, tables, [&](CachedCluster& row) {
    row.last_accessed = event.last_accessed;
    row.access_count = event.access_count;
  });
}

void apply(const ClusterExpired& event, std::int64_t, Tables& tables) {
  tables.erase_cluster(event.cluster_id);
}

void apply(const ClusterRemoved& event, std::int64_t, Tables& tables) {
  tables.erase_cluster(event.cluster_id);
}

void apply(const CreationRegistered& event, std::int64_t position, Tables& tables) {
  RegistryEntry row;
  row.config_hash = event.config_hash;
  row.worker_pid = event.worker.pid;
  row.creation_time = event.creation_time;
  row.usage_count = 1;
  put_new(row, position, tables);
}

void apply(const EntryImported& event, std::int64_t position, Tables& tables) {
  put_new(event.entry, position, tables);
}

void apply(const RegistryStatusChanged& event, std::int64_t, Tables& tables) {
  change_entry(event.config_hash, tables, [&](RegistryEntry& row) {
    row.status = event.to;
    row.cluster_id = event.cluster_id;
    row.error_message = event.error_message;
  });
}

void apply(const UsageIncremented& event, std::int64_t, Tables& tables) {
  change_entry(event.config_hash, tables,
               [&](RegistryEntry& row) { row.usage_count = event.usage_count; });
}

void apply(const UsageDecremented& event, std::int64_t, Tables& tables) {
  change_entry(event.config_hash, tables,
               [&](RegistryEntry& row) { row.usage_count = event.usage_count; });
}

void apply(const RegistryEntryRemoved& event, std::int64_t, Tables& tables) {
  tables.erase_entry(event.config_hash);
}

}  // namespace

void project(const Event& event, std::int64_t position, Tables& tables) {
  std::visit([&](const auto& payload) { apply(payload, position, tables); }, event);
}

}  // namespace dbcache::projections
