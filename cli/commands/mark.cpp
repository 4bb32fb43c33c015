#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Mark final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"mark", Group::shells, "Set the status of a configuration's cluster",
            "dbcache mark 5f70bf18a086007016e948b04aed3b82 ready --cluster-id cluster-123"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("HASH", hash_, "The config_hash, as dbcache hash prints it");
    arguments.required("STATUS", status_, "creating, ready or failed");
    arguments.optional("--cluster-id", "ID", cluster_id_, "The cluster's id; ready needs it once");
    arguments.optional("--error", "TEXT", error_, "Why the creation failed");
  }

  ExitCode run(Context& context) override {
    CacheManager& manager = context.manager();
    const RegistryStatus status = parse_registry_status(status_);
    manager.update_shared_cluster_status(hash_, status,
                                         {.cluster_id = cluster_id_, .error_message = error_});
    if (context.json()) {
      // Another process may have removed it already.
      const auto entry = manager.get_shared_cluster_info(hash_);
      context.print_json(entry ? boost::json::value(to_json(*entry)) : nullptr);
    } else {
      context.out() << "marked " << escape(hash_) << ' ' << to_string(status) << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::string hash_;
  std::string status_;
  std::optional<std::string> cluster_id_;
  std::optional<std::string> error_;
};

}  // namespace

CommandPointer make_mark() { return std::make_unique<Mark>(); }

}  // namespace dbcache::cli
