#include <chrono>
#include <optional>

#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

std::string time_remaining(const CachedClusterInfo& info) {
  if (!info.is_valid) return "expired";
  const auto minutes = std::chrono::floor<std::chrono::minutes>(info.remaining).count();
  return minutes == 0 ? "less than a minute" : count_of(minutes, "minute", "minutes");
}

void print_statistics(std::ostream& out, const CacheStatistics& statistics) {
  print_title(out, "Cache Statistics");
  print_field(out, "Total Clusters", statistics.total_clusters);
  print_field(out, "Active Clusters", statistics.active_clusters);
  print_field(out, "Expired Clusters", statistics.expired_clusters);
  print_field(out, "Total Accesses", statistics.total_accesses);
  print_field(out, "Shared Clusters", statistics.shared_clusters);
  print_field(out, "Cache File Size", bytes(statistics.cache_file_size));
}

void print_active_cluster(std::ostream& out, const std::optional<CachedClusterInfo>& info) {
  print_title(out, "Active Cached Cluster");
  if (!info) {
    out << "  None\n";
    return;
  }
  const CachedCluster& cluster = info->cluster;
  if (info->from_environment) {
    // The times of this cluster are unknown, and it does not expire.
    print_field(out, "Cluster ID", cluster.cluster_id + " (from DATABRICKS_CLUSTER_ID)");
    print_field(out, "Is Valid", yes_no(info->is_valid));
    return;
  }
  print_field(out, "Cluster ID", cluster.cluster_id);
  print_field(out, "Created At", format_seconds(cluster.created_at));
  print_field(out, "Expires At", format_seconds(cluster.expiry_time));
  print_field(out, "Is Valid", yes_no(info->is_valid));
  print_field(out, "Access Count", cluster.access_count);
  print_field(out, "Is Shared", yes_no(cluster.is_shared));
  print_field(out, "Last Accessed", format_seconds(cluster.last_accessed));
  print_field(out, "Time Remaining", time_remaining(*info));
}

class Status final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"status", Group::cache, "Show cache status and statistics", "dbcache status"};
  }

  ExitCode run(Context& context) override {
    const CacheManager& manager = context.manager();
    const CacheStatistics statistics = manager.get_cache_statistics();
    const std::optional<CachedClusterInfo> active = manager.get_cached_cluster_info();
    if (context.json()) {
      const boost::json::object database = to_json(manager.get_database_info());
      context.print_json(
          {{"database", database.at("path")},
           {"exists", database.at("exists")},
           {"statistics", to_json(statistics)},
           {"active_cluster", active ? boost::json::value(to_json(*active)) : nullptr}});
      return ExitCode::done;
    }
    print_statistics(context.out(), statistics);
    print_database_note(context);
    print_active_cluster(context.out(), active);
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_status() { return std::make_unique<Status>(); }

}  // namespace dbcache::cli
