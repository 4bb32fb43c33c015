#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/print_lease.hpp"
#include "cli/process/lifecycle.hpp"
#include "cli/workspace_lifecycle.hpp"

namespace dbcache::cli {
namespace {

class Release final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"release", Group::leases, "End a lease; exit code 1 if it had ended by itself",
            "dbcache release 17-0123456789abcdef --terminate ./terminate.sh"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("LEASE", lease_, "The name of the lease, as dbcache acquire printed it");
    arguments.optional("--terminate", "CMD", terminate_,
                       "Terminates $DBCACHE_CLUSTER_ID, if this release hands it back");
    workspace_.declare(arguments);
  }

  ExitCode run(Context& context) override {
    if (terminate_ && terminate_->empty()) {
      throw InvalidArgument("--terminate is empty; give a command, or leave the option out");
    }
    workspace_.check(terminate_.has_value());
    if (!terminate_ && !workspace_.wanted()) {
      const ReleaseReport report = end(context, {});
      print_report(context, report);
      // Without --terminate, a pending termination is what the caller asked for.
      return ended_unasked(report) ? ExitCode::no : ExitCode::done;
    }
    // Only a termination needs an orderly end. Without one, a signal simply kills the command.
    const BlockedSignals blocked;
    SignalThread signals(blocked);
    const auto bounds = std::make_shared<LifecycleContext>(
        LifecycleContext{.terminal = context.terminal(),
                         .signals = signals,
                         .database = context.manager().database_location()});
    // A CMD is sent the signal instead.
    if (!terminate_) bounds->stop = signals.stop();
    ClusterLifecycle lifecycle;
    lifecycle.terminate = terminate_ ? make_terminate(*terminate_, bounds)
                                     : workspace_terminate(workspace_.options(), bounds);
    const ReleaseReport report = end(context, lifecycle, signals.stop());
    print_report(context, report);
    if (signals.first() != 0) return exit_code_of_signal(signals.first());
    if (ended_unasked(report)) return ExitCode::no;
    return report.owed && !report.settled ? ExitCode::failed : ExitCode::done;
  }

 private:
  /// Somebody used the cluster, perhaps, while the lease no longer held it.
  static bool ended_unasked(const ReleaseReport& report) {
    return report.ended && *report.ended != "released";
  }

  static std::string_view how_it_ended(const std::string& word) {
    if (word == "deadline") return "by its deadline";
    if (word == "died") return "when its process died";
    if (word == "cluster_lost") return "when its cluster was found dead";
    return "by force";
  }

  static std::string_view what_became_of_it(const std::string& word) {
    if (word == "in_use") return "is in use under another lease";
    if (word == "cached") return "is cached for the next run";
    if (word == "termination_pending") return "waits for its termination: see dbcache owed";
    return "was terminated, or is known here no more: see dbcache history";
  }

  void print_report(Context& context, const ReleaseReport& report) const {
    if (context.json()) {
      context.print_json(to_json(report));
    } else {
      print(context, report);
    }
    if (ended_unasked(report)) {
      print_diagnostic(
          context.terminal(),
          fmt::format("the lease {} had ended {}; its cluster {} {}", lease_,
                      how_it_ended(*report.ended), escape(report.cluster_id.value_or("")),
                      what_became_of_it(report.cluster_is.value_or(""))));
    }
    report_pending_termination(context, report);
  }

  [[nodiscard]] ReleaseReport end(Context& context, const ClusterLifecycle& lifecycle,
                                  const std::stop_token& stop = {}) const {
    return SharedClusters(context.manager())
        .release_lease(lease_, lifecycle, stop, Afterwards::exit);
  }

  void print(Context& context, const ReleaseReport& report) const {
    std::ostream& out = context.out();
    if (report.of_surrounding_run) {
      out << "lease " << lease_
          << " belongs to the dbcache run around this process, and ends with it: nothing "
             "to release\n";
      return;
    }
    if (ended_unasked(report)) return;
    if (!report.was_held) {
      out << "lease " << lease_ << " was released before: nothing to release\n";
      return;
    }
    out << "released lease " << lease_;
    if (!report.was_last) {
      out << ": " << count_of(report.usage_count, "use", "uses") << " left";
    } else if (!report.owed) {
      out << ", the last one: its cluster is kept";
    } else if (report.settled) {
      out << ", the last one: terminated " << escape(*report.owed);
    } else {
      out << ", the last one: the termination of " << escape(*report.owed) << " is pending";
    }
    out << '\n';
  }

  std::string lease_;
  std::optional<std::string> terminate_;
  WorkspaceArguments workspace_;
};

}  // namespace

CommandPointer make_release() { return std::make_unique<Release>(); }

}  // namespace dbcache::cli
