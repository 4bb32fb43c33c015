#include <cstdlib>

#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/process/environment.hpp"

namespace dbcache::cli {
namespace {

class Started final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"started", Group::leases, "Record the cluster that a create command has just started",
            "dbcache started cluster-123"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("ID", id_, "The cluster's id");
    arguments.optional("--config-hash", "HASH", hash_,
                       "The config_hash; default: $DBCACHE_CONFIG_HASH, set for create commands");
    arguments.optional("--creation", "NAME", creation_,
                       "The creation's name; default: $DBCACHE_CREATION_NAME, set likewise");
  }

  ExitCode run(Context& context) override {
    const Environment environment;
    const auto hash = hash_ ? hash_ : environment.get("DBCACHE_CONFIG_HASH");
    auto creation = creation_ ? creation_ : environment.get("DBCACHE_CREATION_NAME");
    // An older dbcache around this command sets the number alone, and may itself run under a newer
    // one.
    const auto number = environment.get("DBCACHE_CREATION");
    if (!creation_ && number && (!creation || !creation->starts_with(*number + "-"))) {
      creation = number;
    }
    if (!hash || !creation) {
      throw InvalidArgument(
          "DBCACHE_CONFIG_HASH or DBCACHE_CREATION_NAME is unset; outside a create command, give "
          "--config-hash HASH and --creation NAME, as dbcache leases --json lists them");
    }
    SharedClusters(context.manager()).creation_started(*hash, *creation, id_);
    if (context.json()) {
      context.print_json({{"config_hash", *hash},
                          {"creation", std::strtoll(creation->c_str(), nullptr, 10)},
                          {"cluster_id", id_}});
    }
    // Otherwise print nothing: a create command prints the cluster's id alone.
    return ExitCode::done;
  }

 private:
  std::string id_;
  std::optional<std::string> hash_;
  std::optional<std::string> creation_;
};

}  // namespace

CommandPointer make_started() { return std::make_unique<Started>(); }

}  // namespace dbcache::cli
