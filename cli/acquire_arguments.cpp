#include "cli/acquire_arguments.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "cli/config_file.hpp"
#include "cli/print_lease.hpp"
#include "cli/wait_line.hpp"

namespace dbcache::cli {
namespace {

constexpr double most_seconds = 1e9;

}  // namespace

std::chrono::milliseconds seconds_of(const char* option, double seconds, double least) {
  if (!(seconds >= least && seconds <= most_seconds)) {
    throw InvalidArgument(fmt::format("{} must be {} to {:.0e} seconds, not {}", option, least,
                                      most_seconds, seconds));
  }
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

void AcquireArguments::declare(Arguments& arguments) {
  arguments.required("--config", "FILE", config_,
                     "The configuration, a JSON object; - reads stdin");
  arguments.optional("--create", "CMD", commands_.create,
                     "Starts a cluster: reads the configuration on stdin, prints the id last.\n"
                     "Without it, the Databricks workspace creates, checks and terminates");
  arguments.optional("--check", "CMD", commands_.check,
                     "Exits with 0 if $DBCACHE_CLUSTER_ID runs, with 1 if it does not");
  arguments.optional("--terminate", "CMD", commands_.terminate,
                     "Terminates $DBCACHE_CLUSTER_ID; if that is unset, the cluster that was\n"
                     "created with $DBCACHE_IDEMPOTENCY_TOKEN");
  workspace_.declare_profile(arguments);
  arguments.optional("--timeout", "S", timeout_, "Seconds to wait for a lease; default: 1800");
  arguments.flag("--keep", keep_, "Keep the cluster for its next user until it expires (default)");
  arguments.flag("--hand-back", hand_back_, "Terminate the cluster when its last lease ends");
  arguments.optional("--run", "NAME", run_,
                     "The run that uses the cluster: hand it back only after this run ends");
  arguments.one_of("--on-create-failure", {"try-again", "fail"}, "WORD", on_create_failure_,
                   "If another process's create fails: try-again or fail; default: try-again");
  arguments.repeatable("--leave-out", "KEY", leave_out_,
                       "Leave this key out of config_hash; may be repeated");
}

void AcquireArguments::check() const {
  if (keep_ && hand_back_) {
    throw InvalidArgument("--keep and --hand-back exclude each other; give one of them");
  }
  if (timeout_) seconds_of("--timeout", *timeout_, 0);
  if (commands_.create && commands_.create->empty()) {
    throw InvalidArgument(
        "--create is empty; give the command that starts a cluster, or leave the option out");
  }
  if (commands_.create && workspace_.has_profile()) {
    throw InvalidArgument("--create and --workspace-profile exclude each other; give one of them");
  }
  workspace_.check(/*has_command=*/false);
  // An empty CMD, from an unset variable in a script, would pass every check and terminate nothing.
  if (commands_.check && commands_.check->empty()) {
    throw InvalidArgument("--check is empty; give a command, or leave the option out");
  }
  if (commands_.terminate && commands_.terminate->empty()) {
    throw InvalidArgument("--terminate is empty; give a command, or leave the option out");
  }
}

ClusterConfig AcquireArguments::read_config(Terminal& terminal) const {
  return cli::read_config(terminal, config_);
}

AcquireOptions AcquireArguments::options() const {
  AcquireOptions options;
  if (timeout_) options.timeout = seconds_of("--timeout", *timeout_, 0);
  options.policy = hand_back_ ? HandBackPolicy::hand_back : HandBackPolicy::keep;
  options.on_create_failure =
      on_create_failure_ == "fail" ? OnCreateFailure::fail : OnCreateFailure::try_again;
  options.run = run_;
  options.hash.leave_out = leave_out_;
  return options;
}

ClusterLifecycle AcquireArguments::lifecycle(
    const ClusterConfig& config, const std::shared_ptr<LifecycleContext>& context) const {
  ClusterLifecycle lifecycle = make_lifecycle(commands_, context);
  if (lifecycle.create) return lifecycle;
  ClusterLifecycle of_workspace = workspace_lifecycle(config, workspace_.options(), context);
  if (lifecycle.check) of_workspace.check = lifecycle.check;
  if (lifecycle.terminate) of_workspace.terminate = lifecycle.terminate;
  return of_workspace;
}

ClusterLease acquire_lease(Context& context, SharedClusters& clusters,
                           const AcquireArguments& arguments, const ClusterConfig& config,
                           SignalThread& signals, Afterwards afterwards) {
  WaitLine line(context.terminal());
  AcquireOptions options = arguments.options();
  options.afterwards = afterwards;
  options.stop = signals.stop();
  options.on_wait = [&line](const WaitProgress& progress) { line.show(progress); };
  const auto lifecycle_context = std::make_shared<LifecycleContext>(
      LifecycleContext{.terminal = context.terminal(),
                       .signals = signals,
                       .database = context.manager().database_location(),
                       .before_command = [&line] { line.erase(); },
                       .deadline = std::chrono::steady_clock::now() + options.timeout,
                       .stop = options.stop});
  ClusterLease lease =
      clusters.acquire(config, arguments.lifecycle(config, lifecycle_context), options);
  // The lease keeps the lifecycle for its release, where these bounds do not apply.
  lifecycle_context->before_command = {};
  lifecycle_context->deadline = std::nullopt;
  lifecycle_context->stop = {};
  if (signals.first() != 0) {
    line.erase();
    report_pending_termination(context, lease.release(signals.stop()));
    throw Cancelled(std::string(signalled_text));
  }
  return lease;
}

std::optional<Timestamp> end_of_lease(SharedClusters& clusters, const std::string& name) {
  const LeaseReport report = clusters.leases();
  const auto found =
      std::find_if(report.leases.begin(), report.leases.end(), [&name](const LeaseInfo& info) {
        return info.name == name || std::to_string(info.lease) == name;
      });
  if (found == report.leases.end()) return std::nullopt;
  return found->holder.until;
}

}  // namespace dbcache::cli
