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
    return {.name = "run",
            .group = Group::leases,
            .summary = "Run a command with a cluster: leased before, released after",
            .example = "dbcache run --config cluster.json --create ./create.sh -- pytest -n 8",
            .notes =
                "COMMAND has DATABRICKS_CLUSTER_ID, DBCACHE_LEASE and DBCACHE_DATABASE set.\n"
                "Exit codes: COMMAND's own; 124 no lease in time, 125 dbcache failed, 126\n"
                "COMMAND cannot be executed, 127 it is not found, 128+N it died of signal N.\n" +
                std::string(lifecycle_notes)};
  }

  void declare(Arguments& arguments) override {
    acquiring_.declare(arguments);
    arguments.rest("COMMAND", command_, "What to run, after --, with its arguments");
  }

  ExitCode run(Context& context) override {
    acquiring_.check();
    try {
      return run_with_lease(context);
    } catch (const CannotStart& error) {
      complain(context.terminal(), error.what());
      return error.found() ? ExitCode::cannot_execute : ExitCode::not_found;
    } catch (const Timeout& error) {
      complain(context.terminal(), error.what());
      return ExitCode::timed_out;
    } catch (const std::exception& error) {
      complain(context.terminal(), error.what());
      return ExitCode::run_failed;
    }
  }

 private:
  ExitCode run_with_lease(Context& context) {
    // First: a wrong name must not cost a cluster.
    const std::string path = find_program(command_.front(), Environment());
    const ClusterConfig config = acquiring_.read_config(context.terminal());
    const HeldSignals held;
    SignalWatch signals(held);
    SharedClusters clusters(context.manager());
    ClusterLease lease;
    try {
      lease = acquire_lease(context, clusters, acquiring_, config, signals);
    } catch (const std::exception& error) {
      if (signals.first() == 0) throw;
      complain(context.terminal(), error.what());
      return exit_code_of_signal(signals.first());
    }
    ExitCode code = ExitCode::done;
    try {
      code = run_under(context, lease, path, signals);
    } catch (...) {
      let_go(context, lease, signals);
      throw;
    }
    let_go(context, lease, signals);
    return code;
  }

  ExitCode run_under(Context& context, const ClusterLease& lease, const std::string& path,
                     SignalWatch& signals) {
    std::optional<SignalReceiver> receiver(std::in_place, signals);
    // A signal that came before the receiver was there ended the wait; later ones are for COMMAND.
    if (const int number = signals.first(); number != 0) return exit_code_of_signal(number);
    Launch launch{.path = path, .words = command_, .signal_mask = signals.mask_of_children()};
    launch.environment.set("DATABRICKS_CLUSTER_ID", lease.cluster_id());
    launch.environment.set("DBCACHE_LEASE", std::to_string(lease.fencing_token()));
    launch.environment.set("DBCACHE_RUN_LEASE", std::to_string(lease.fencing_token()));
    name_database(context.manager().get_database_info(), launch.environment);
    // So that COMMAND and its descendants hold the lease, too: if this process is killed, they go
    // on with a cluster that is still theirs, and the lease ends with the last of them.
    // PR_SET_PDEATHSIG would end COMMAND instead, but not its descendants (the workers of a test
    // runner), which would use a cluster that nobody holds; and it is sent when the thread that
    // started COMMAND ends, whatever becomes of the process.
    launch.inherited = {lease.lock_descriptor()};
    Program program(launch);
    receiver->is(program);
    program.wait_until_ended();
    receiver.reset();
    return static_cast<ExitCode>(program.reap().as_exit_code());
  }

  /// COMMAND's exit code stands, whatever comes of this. Who was told to end leaves to others what
  /// is owed besides.
  static void let_go(Context& context, ClusterLease& lease, const SignalWatch& signals) {
    try {
      if (lease.lost()) {
        complain(context.terminal(),
                 fmt::format("lease {} was lost while the command ran: the cluster {} was found "
                             "dead, the lease was ended by force, or the database could not be "
                             "reached for too long; see dbcache history {}",
                             lease.fencing_token(), lease.cluster_id(), lease.config_hash()));
      }
      report_debt(context, lease.release(signals.stop()));
    } catch (const std::exception& error) {
      complain(context.terminal(), error.what());
    }
  }

  AcquireArguments acquiring_;
  std::vector<std::string> command_;
};

}  // namespace

CommandPointer make_run() { return std::make_unique<Run>(); }

}  // namespace dbcache::cli
