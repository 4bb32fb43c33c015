#include <algorithm>
#include <chrono>
#include <cmath>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/config_file.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

/// Fits into a count of microseconds; the library's own limit is lower.
constexpr double most_hours = 1e9;

std::chrono::microseconds hours_of(double hours) {
  if (!std::isfinite(hours) || std::abs(hours) > most_hours) {
    throw InvalidArgument("--expiry-hours is out of range; give a number of hours");
  }
  return std::chrono::round<std::chrono::microseconds>(
      std::chrono::duration<double, std::ratio<3600>>(hours));
}

class Cache final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"cache", Group::shells, "Cache a cluster as the active one",
            "dbcache cache cluster-123 --config cluster.json --expiry-hours 1.5"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("ID", id_, "The cluster's id");
    arguments.optional("--config", "FILE", config_,
                       "Its configuration, a JSON object; - reads stdin");
    arguments.optional("--expiry-hours", "H", expiry_hours_, "Hours until it expires; default: 1");
  }

  ExitCode run(Context& context) override {
    if (expiry_hours_) context.options().default_expiry = hours_of(*expiry_hours_);
    const ClusterConfig config =
        config_ ? read_config(context.terminal(), *config_) : ClusterConfig();
    CacheManager& manager = context.manager();
    manager.cache_new_cluster(id_, config);

    const auto rows = manager.get_all_clusters();
    const auto row = std::find_if(rows.begin(), rows.end(), [this](const CachedCluster& cluster) {
      return cluster.cluster_id == id_;
    });
    // Another process may have removed it already.
    const bool found = row != rows.end();
    if (context.json()) {
      context.print_json(found ? boost::json::value(to_json(*row)) : nullptr);
    } else {
      context.out() << "cached " << escape(id_);
      if (found) context.out() << " until " << format_seconds(row->expiry_time);
      context.out() << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::string id_;
  std::optional<std::string> config_;
  std::optional<double> expiry_hours_;
};

}  // namespace

CommandPointer make_cache() { return std::make_unique<Cache>(); }

}  // namespace dbcache::cli
