#include <utility>

#include <boost/json/array.hpp>

#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class List final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"list", Group::cache, "Show all cached clusters, newest first",
            "dbcache list --expired"};
  }

  void declare(Arguments& arguments) override {
    arguments.flag("--active", active_, "Only active clusters");
    arguments.flag("--expired", expired_, "Only expired clusters");
    arguments.flag("--shared", shared_, "Only shared clusters");
  }

  ExitCode run(Context& context) override {
    ClusterFilter filter;
    if (active_) filter.is_active = true;
    if (expired_) filter.is_expired = true;
    if (shared_) filter.is_shared = true;
    const auto clusters = context.manager().get_all_clusters(filter);
    if (context.json()) {
      boost::json::array rows;
      for (const CachedCluster& cluster : clusters) rows.push_back(to_json(cluster));
      context.print_json(std::move(rows));
      return ExitCode::done;
    }
    print_title(context.out(), "Cached Clusters");
    for (const CachedCluster& cluster : clusters) {
      if (&cluster != &clusters.front()) context.out() << '\n';
      print_cluster(context, cluster);
    }
    if (clusters.empty()) {
      context.out() << "  None\n";
      print_database_note(context);
    }
    return ExitCode::done;
  }

 private:
  bool active_ = false;
  bool expired_ = false;
  bool shared_ = false;
};

}  // namespace

CommandPointer make_list() { return std::make_unique<List>(); }

}  // namespace dbcache::cli
