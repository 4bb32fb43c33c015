#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/removal.hpp"

namespace dbcache::cli {
namespace {

std::string in_a_line(const RegistryEntry& entry) {
  std::string line = "Entry: " + entry.config_hash + ", " + std::string(to_string(entry.status));
  if (entry.cluster_id) line += ", cluster " + *entry.cluster_id;
  return line + ", " + count_of(entry.usage_count, "use", "uses");
}

class CleanupShared final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"cleanup-shared", Group::cache,
            "Clean up shared cluster registry: every entry, or one; keep the log",
            "dbcache cleanup-shared --yes"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("HASH", "", hash_, "Only the entry of this configuration");
    arguments.flag("--yes", yes_, "Do not ask for confirmation");
    arguments.flag("--force", force_, force_help);
  }

  ExitCode run(Context& context) override {
    CacheManager& manager = context.manager();
    PlannedRemoval planned{.title = "Clean Up Shared Cluster Registry",
                           .one = "entry",
                           .many = "entries",
                           .total = "Removed Entries",
                           .what = {},
                           .confirmed = yes_,
                           .remove = {}};
    if (hash_) {
      // An unknown entry counts as removed, so that a teardown can run twice.
      const auto entry = manager.get_shared_cluster_info(*hash_);
      if (entry) planned.what.push_back(in_a_line(*entry));
      planned.remove = [&manager, this] {
        return manager.cleanup_shared_cluster_registry(*hash_, held_clusters(force_));
      };
    } else {
      for (const RegistryEntry& entry : manager.get_all_shared_clusters()) {
        planned.what.push_back(in_a_line(entry));
      }
      planned.remove = [&manager, this] {
        return manager.clear_shared_cluster_registry(held_clusters(force_));
      };
    }
    return confirm_and_remove(context, planned);
  }

 private:
  std::optional<std::string> hash_;
  bool yes_ = false;
  bool force_ = false;
};

}  // namespace

CommandPointer make_cleanup_shared() { return std::make_unique<CleanupShared>(); }

}  // namespace dbcache::cli
