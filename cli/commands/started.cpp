#include <charconv>

#include <fmt/format.h>

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
    arguments.optional("--creation", "N", creation_,
                       "The creation's number; default: $DBCACHE_CREATION, set likewise");
  }

  ExitCode run(Context& context) override {
    const Environment environment;
    const auto hash = hash_ ? hash_ : environment.get("DBCACHE_CONFIG_HASH");
    const auto creation = creation_ ? creation_ : number_in(environment);
    if (!hash || !creation) {
      throw InvalidArgument(
          "DBCACHE_CONFIG_HASH or DBCACHE_CREATION is unset; outside a create command, give "
          "--config-hash HASH and --creation N, as dbcache leases lists them");
    }
    SharedClusters(context.manager()).creation_started(*hash, *creation, id_);
    if (context.json()) {
      context.print_json({{"config_hash", *hash}, {"creation", *creation}, {"cluster_id", id_}});
    }
    // Otherwise print nothing: a create command prints the cluster's id alone.
    return ExitCode::done;
  }

 private:
  static std::optional<std::int64_t> number_in(const Environment& environment) {
    const auto text = environment.get("DBCACHE_CREATION");
    if (!text) return std::nullopt;
    std::int64_t number = 0;
    const char* const end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, number);
    if (error != std::errc() || stop != end) {
      throw InvalidArgument(
          fmt::format("DBCACHE_CREATION must be the number of a creation, not '{}'", *text));
    }
    return number;
  }

  std::string id_;
  std::optional<std::string> hash_;
  std::optional<std::int64_t> creation_;
};

}  // namespace

CommandPointer make_started() { return std::make_unique<Started>(); }

}  // namespace dbcache::cli
