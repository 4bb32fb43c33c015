#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/process/lifecycle.hpp"
#include "cli/removal.hpp"
#include "cli/workspace_lifecycle.hpp"

namespace dbcache::cli {
namespace {

class Cleanup final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {
        .name = "cleanup",
        .group = Group::cache,
        .summary = "Clean up expired clusters, and run pending terminations if told how",
        .example = "dbcache cleanup --terminate ./terminate.sh",
        .notes =
            "/bin/sh runs CMD once for each pending termination. CMD terminates the cluster\n"
            "$DBCACHE_CLUSTER_ID. If that is unset, CMD looks for a cluster that was created with\n"
            "$DBCACHE_IDEMPOTENCY_TOKEN. CMD must do no harm if there is no such cluster."};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("--terminate", "CMD", terminate_,
                       "Also run the pending terminations, which dbcache owed lists");
    workspace_.declare(arguments);
    arguments.flag("--force", force_, force_help);
  }

  ExitCode run(Context& context) override {
    if (terminate_ && terminate_->empty()) {
      throw InvalidArgument("--terminate is empty; give a command, or leave the option out");
    }
    workspace_.check(terminate_.has_value());
    const bool settles = terminate_ || workspace_.wanted();
    // Only a termination needs an orderly end. Without one, a signal simply kills the command.
    std::optional<BlockedSignals> blocked;
    if (settles) blocked.emplace();
    const Removal removal = context.manager().cleanup_expired_clusters(held_clusters(force_));
    if (!context.json()) {
      print_title(context.out(), "Clean Up Expired Clusters");
      print_removal(context, "Removed Clusters", removal);
    }
    boost::json::object document = removal_json(removal);
    ExitCode code = ExitCode::done;
    if (settles) {
      SignalThread signals(*blocked);
      const SettleReport settled = settle(context, signals);
      document["terminations"] = to_json(settled);
      if (!settled.failed.empty()) code = ExitCode::failed;
      if (signals.first() != 0) code = exit_code_of_signal(signals.first());
    }
    if (context.json()) context.print_json(document);
    return code;
  }

 private:
  /// Prints the result of each termination at once: one may take long.
  SettleReport settle(Context& context, SignalThread& signals) {
    const auto bounds = std::make_shared<LifecycleContext>(
        LifecycleContext{.terminal = context.terminal(),
                         .signals = signals,
                         .database = context.manager().database_location(),
                         .stop = signals.stop()});
    const auto terminate = terminate_ ? make_terminate(*terminate_, bounds)
                                      : workspace_terminate(workspace_.options(), bounds);
    const auto print_result = [&context](std::string_view key, const std::string& text) {
      if (!context.json()) print_field(context.out(), key, text);
      context.out().flush();
    };
    if (!context.json()) print_title(context.out(), "Pending Terminations");
    SettleReport report = SharedClusters(context.manager())
                              .settle(
                                  [&](const Termination& termination) {
                                    terminate(termination);
                                    print_result("Terminated", termination.owed.subject);
                                  },
                                  std::nullopt, signals.stop());
    for (const SettleReport::Failure& failure : report.failed) {
      print_result("Failed", failure.subject + ": " + failure.error);
    }
    for (const std::string& subject : report.left) {
      print_result("Kept, because another process holds or terminates it", subject);
    }
    if (report.settled.empty() && report.failed.empty() && report.left.empty() && !context.json()) {
      context.out() << "  None\n";
    }
    return report;
  }

  std::optional<std::string> terminate_;
  WorkspaceArguments workspace_;
  bool force_ = false;
};

}  // namespace

CommandPointer make_cleanup() { return std::make_unique<Cleanup>(); }

}  // namespace dbcache::cli
