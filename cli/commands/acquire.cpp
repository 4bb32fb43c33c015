#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "cli/acquire_arguments.hpp"
#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/print_lease.hpp"
#include "cli/process/guard.hpp"

namespace dbcache::cli {
namespace {

boost::json::object describe_lease(const ClusterLease& lease) {
  return {{"lease", lease.fencing_token()},       {"name", lease.name()},
          {"cluster_id", lease.cluster_id()},     {"config_hash", lease.config_hash()},
          {"created_here", lease.created_here()}, {"until", nullptr}};
}

/// A guard's lease.
class GuardedLease final : public GuardedResource {
 public:
  GuardedLease(const CacheManager& manager, SharedClusters clusters, ClusterLease lease)
      : manager_(manager), clusters_(std::move(clusters)), lease_(std::move(lease)) {}

  [[nodiscard]] boost::json::object report() override { return describe_lease(lease_); }
  [[nodiscard]] bool was_ended_elsewhere() override {
    if (!lease_.lost()) return false;
    // While its server is away it is not known: a call throws, or brings back the lease. Nor is it
    // while no log is there: that may be moved back.
    return !manager_.history({.limit = 1}).empty() && lease_.lost();
  }
  void release(const std::stop_token& stop) override { lease_.release(stop, Afterwards::exit); }

 private:
  const CacheManager& manager_;
  SharedClusters clusters_;
  ClusterLease lease_;
};

class Acquire final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {.name = "acquire",
            .group = Group::leases,
            .summary = "Lease a configuration's cluster, and print the name of the lease",
            .example = "dbcache acquire --config cluster.json --ttl 3600",
            .notes = std::string(lifecycle_notes)};
  }

  void declare(Arguments& arguments) override {
    acquiring_.declare(arguments);
    arguments.optional("--ttl", "S", ttl_, "Seconds until the lease ends by itself; default: 7200");
    arguments.optional("--while-pid", "N", while_pid_,
                       "Instead of --ttl: hold it while this process lives; in a script: $$");
    arguments.flag("--env", env_,
                   "Print for eval: export DBCACHE_LEASE=... DATABRICKS_CLUSTER_ID=...");
  }

  ExitCode run(Context& context) override {
    acquiring_.check();
    if (ttl_ && while_pid_) {
      throw InvalidArgument("--ttl and --while-pid exclude each other; give one of them");
    }
    if (env_ && context.json()) {
      throw InvalidArgument("--env and --json exclude each other; give one of them");
    }
    return while_pid_ ? hold_by_guard(context) : hold_by_deadline(context);
  }

 private:
  ExitCode hold_by_deadline(Context& context) {
    constexpr double least = 1e-3;
    const auto ttl = seconds_of("--ttl", ttl_.value_or(default_ttl_seconds), least);
    const ClusterConfig config = acquiring_.read_config(context.terminal());
    const BlockedSignals blocked;
    SignalThread signals(blocked);
    SharedClusters clusters(context.manager());
    try {
      ClusterLease lease =
          acquire_lease(context, clusters, acquiring_, config, signals, Afterwards::exit);
      boost::json::object report = describe_lease(lease);
      lease.hold_for(ttl);
      const std::string name = name_in(report);
      if (const auto until = end_of_lease(clusters, name)) {
        report["until"] = format_timestamp(*until);
      }
      if (signals.first() != 0) {
        report_pending_termination(context, clusters.release_lease(name));
        throw Cancelled(std::string(signalled_text));
      }
      print(context, report);
      // Without its name, which was not printed, nobody can release the lease.
      if (!context.out().flush()) {
        report_pending_termination(context, clusters.release_lease(name));
      }
      return ExitCode::done;
    } catch (const std::exception& error) {
      if (signals.first() == 0) throw;
      print_diagnostic(context.terminal(), error.what());
      return exit_code_of_signal(signals.first());
    }
  }

  ExitCode hold_by_guard(Context& context) {
    Descriptor process = open_while_pid(*while_pid_);
    const ClusterConfig config = acquiring_.read_config(context.terminal());
    const GuardAnswer answer = start_guard(
        context, std::move(process), [this, &config](Context& guards, SignalThread& signals) {
          SharedClusters clusters(guards.manager());
          ClusterLease lease = acquire_lease(guards, clusters, acquiring_, config, signals);
          return std::make_unique<GuardedLease>(guards.manager(), std::move(clusters),
                                                std::move(lease));
        });
    if (answer.code != ExitCode::done) {
      print_diagnostic(context.terminal(), answer.error);
      return answer.code;
    }
    print(context, answer.report);
    return ExitCode::done;
  }

  static std::string name_in(const boost::json::object& report) {
    return std::string(report.at("name").as_string());
  }

  void print(Context& context, const boost::json::object& report) const {
    const std::string name = name_in(report);
    if (context.json()) {
      context.print_json(report);
    } else if (env_) {
      context.out() << fmt::format("export DBCACHE_LEASE={} DATABRICKS_CLUSTER_ID={}\n", name,
                                   shell_quoted(std::string(report.at("cluster_id").as_string())));
    } else {
      context.out() << name << '\n';
    }
  }

  AcquireArguments acquiring_;
  std::optional<double> ttl_;
  std::optional<std::int64_t> while_pid_;
  bool env_ = false;
};

}  // namespace

CommandPointer make_acquire() { return std::make_unique<Acquire>(); }

}  // namespace dbcache::cli
