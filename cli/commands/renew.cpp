#include <cstdlib>

#include <dbcache/shared_clusters.hpp>

#include "cli/acquire_arguments.hpp"
#include "cli/commands/all.hpp"

namespace dbcache::cli {
namespace {

class Renew final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"renew", Group::leases, "Extend a lease that has a deadline",
            "dbcache renew 17-0123456789abcdef --ttl 3600"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("LEASE", lease_, "The name of the lease, as dbcache acquire printed it");
    arguments.optional("--ttl", "S", ttl_, "Seconds from now until the lease ends; default: 7200");
  }

  ExitCode run(Context& context) override {
    constexpr double least = 1e-3;
    const auto ttl = seconds_of("--ttl", ttl_.value_or(default_ttl_seconds), least);
    SharedClusters clusters(context.manager());
    clusters.renew_lease(lease_, ttl);
    const auto until = end_of_lease(clusters, lease_);
    if (context.json()) {
      const std::int64_t number = std::strtoll(lease_.c_str(), nullptr, 10);
      boost::json::object document{{"lease", number}, {"name", lease_}, {"until", nullptr}};
      if (until) document["until"] = format_timestamp(*until);
      context.print_json(document);
    } else {
      context.out() << "renewed lease " << lease_;
      if (until) context.out() << " until " << format_seconds(*until);
      context.out() << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::string lease_;
  std::optional<double> ttl_;
};

}  // namespace

CommandPointer make_renew() { return std::make_unique<Renew>(); }

}  // namespace dbcache::cli
