#include <optional>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "cli/acquire_arguments.hpp"
#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/print_lease.hpp"
#include "cli/process/child_process.hpp"
#include "cli/process/lifecycle.hpp"

namespace dbcache::cli {
namespace {

class Run final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {
        .name = "run",
        .group = Group::leases,
        .summary = "Lease a cluster, run a command with it, and release it",
        .example = "dbcache run --config cluster.json -- pytest -n 8",
        .notes =
            "COMMAND runs with DATABRICKS_CLUSTER_ID, DBCACHE_LEASE and DBCACHE_DATABASE set.\n"
            "Exit codes: the code of COMMAND; 124 no lease within --timeout, 125 dbcache failed,\n"
            "126 COMMAND cannot be executed, 127 COMMAND is not found, 128+N signal N killed "
            "it.\n\n" +
            std::string(lifecycle_notes)};
  }

  void declare(Arguments& arguments) override {
    acquiring_.declare(arguments);
    arguments.remaining("COMMAND", command_, "The command and its arguments, after --");
  }

  ExitCode run(Context& context) override {
    acquiring_.check();
    try {
      return run_with_lease(context);
    } catch (const StartError& error) {
      print_diagnostic(context.terminal(), error.what());
      return error.reason() == StartError::Reason::not_found ? ExitCode::not_found
                                                             : ExitCode::cannot_execute;
    } catch (const Timeout& error) {
      print_diagnostic(context.terminal(), error.what());
      return ExitCode::timed_out;
    } catch (const std::exception& error) {
      print_diagnostic(context.terminal(), error.what());
      return ExitCode::run_failed;
    }
  }

 private:
  ExitCode run_with_lease(Context& context) {
    // First, so that a wrong name does not start a cluster.
    const std::string path = find_executable(command_.front(), Environment());
    const ClusterConfig config = acquiring_.read_config(context.terminal());
    const BlockedSignals blocked;
    SignalThread signals(blocked);
    SharedClusters clusters(context.manager());
    ClusterLease lease;
    try {
      lease = acquire_lease(context, clusters, acquiring_, config, signals);
    } catch (const std::exception& error) {
      if (signals.first() == 0) throw;
      print_diagnostic(context.terminal(), error.what());
      return exit_code_of_signal(signals.first());
    }
    ExitCode code = ExitCode::done;
    try {
      code = run_under(context, lease, path, signals);
    } catch (...) {
      release(context, lease, signals);
      throw;
    }
    release(context, lease, signals);
    return code;
  }

  ExitCode run_under(Context& context, const ClusterLease& lease, const std::string& path,
                     SignalThread& signals) {
    std::optional<SignalForwarder> forwarder(std::in_place, signals);
    // An earlier signal has stopped the wait for the lease. Later ones are for COMMAND.
    if (const int number = signals.first(); number != 0) return exit_code_of_signal(number);
    Launch launch{.path = path, .arguments = command_, .signal_mask = signals.mask_of_children()};
    launch.environment.set("DATABRICKS_CLUSTER_ID", lease.cluster_id());
    launch.environment.set("DBCACHE_LEASE", lease.name());
    launch.environment.set("DBCACHE_RUN_LEASE", lease.name());
    set_database_variables(context.manager().database_location(), launch.environment);
    // COMMAND and its descendants hold the lease too. If this process is killed, they keep their
    // cluster, and the lease ends with the last of them. PR_SET_PDEATHSIG would kill COMMAND, but
    // not its descendants (the workers of a test runner): they would use a cluster that no process
    // holds. It is also sent when the thread that started COMMAND ends, although the process lives.
    launch.inherited = {lease.lock_descriptor()};
    ChildProcess child(launch);
    forwarder->forward_to(child);
    child.wait_for_exit();
    forwarder.reset();
    return static_cast<ExitCode>(child.reap().as_exit_code());
  }

  /// Does not change COMMAND's exit code, even if it fails. After a signal it starts no termination
  /// that another process can run.
  static void release(Context& context, ClusterLease& lease, const SignalThread& signals) {
    try {
      const bool lost = lease.lost();
      const ReleaseReport report = lease.release(signals.stop(), Afterwards::exit);
      if (lost && !report.was_held) {
        print_diagnostic(
            context.terminal(),
            fmt::format("lease {} was lost while the command ran: cluster {} was found dead, the "
                        "lease was ended by force, or the database was unreachable for too "
                        "long; see dbcache history {}",
                        lease.name(), lease.cluster_id(), lease.config_hash()));
      }
      report_pending_termination(context, report);
    } catch (const std::exception& error) {
      print_diagnostic(context.terminal(), error.what());
    }
  }

  AcquireArguments acquiring_;
  std::vector<std::string> command_;
};

}  // namespace

CommandPointer make_run() { return std::make_unique<Run>(); }

}  // namespace dbcache::cli
