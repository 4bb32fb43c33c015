#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/removal.hpp"

namespace dbcache::cli {
namespace {

std::string in_a_line(const CachedCluster& cluster) {
  std::string line = "Cluster: " + cluster.cluster_id;
  if (cluster.is_active) line += ", active";
  if (cluster.is_shared) line += ", shared";
  return line;
}

class Clear final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"clear", Group::cache, "Clear all cluster cache; keep the registry and the log",
            "dbcache clear --yes"};
  }

  void declare(Arguments& arguments) override {
    arguments.flag("--yes", yes_, "Do not ask for confirmation");
    arguments.flag("--force", force_, force_help);
  }

  ExitCode run(Context& context) override {
    PlannedRemoval planned{.title = "Clear Cluster Cache",
                           .one = "cluster",
                           .many = "clusters",
                           .total = "Removed Clusters",
                           .what = {},
                           .confirmed = yes_,
                           .remove = {}};
    for (const CachedCluster& cluster : context.manager().get_all_clusters()) {
      planned.what.push_back(in_a_line(cluster));
    }
    planned.remove = [&context, this] {
      return context.manager().clear_cluster_cache(held_clusters(force_));
    };
    return confirm_and_remove(context, planned);
  }

 private:
  bool yes_ = false;
  bool force_ = false;
};

}  // namespace

CommandPointer make_clear() { return std::make_unique<Clear>(); }

}  // namespace dbcache::cli
