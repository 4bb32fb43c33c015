#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/process/lifecycle.hpp"
#include "cli/removal.hpp"

namespace dbcache::cli {
namespace {

class Cleanup final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {.name = "cleanup",
            .group = Group::cache,
            .summary = "Clean up expired clusters",
            .example = "dbcache cleanup",
            .notes =
                "CMD runs once for each termination that is owed, by /bin/sh. It has\n"
                "DBCACHE_CLUSTER_ID; where that is unset, it is to look for a cluster that was\n"
                "created with DBCACHE_IDEMPOTENCY_TOKEN. It must do no harm where none is left."};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("--terminate", "CMD", terminate_,
                       "Then terminate all that is owed, as dbcache owed lists it");
    arguments.flag("--force", force_, force_help);
  }

  ExitCode run(Context& context) override {
    if (terminate_ && terminate_->empty()) {
      throw InvalidArgument("--terminate: an empty command; leave the option out for none");
    }
    // Only a terminate CMD needs an orderly end. Without one, a signal simply kills the command.
    std::optional<BlockedSignals> blocked;
    if (terminate_) blocked.emplace();
    const Removal removal = context.manager().cleanup_expired_clusters(held_clusters(force_));
    if (!context.json()) {
      print_title(context.out(), "Clean Up Expired Clusters");
      print_removal(context, "Removed Clusters", removal);
    }
    boost::json::object document = removal_json(removal);
    ExitCode code = ExitCode::done;
    if (terminate_) {
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
    const auto terminate =
        make_terminate(*terminate_, std::make_shared<LifecycleContext>(LifecycleContext{
                                        .terminal = context.terminal(),
                                        .signals = signals,
                                        .database = context.manager().get_database_info(),
                                        .stop = signals.stop()}));
    const auto print_result = [&context](std::string_view key, const std::string& text) {
      if (!context.json()) print_field(context.out(), key, text);
      context.out().flush();
    };
    if (!context.json()) print_title(context.out(), "Owed Terminations");
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
      print_result("Left alone, since others hold or terminate it", subject);
    }
    if (report.settled.empty() && report.failed.empty() && report.left.empty() && !context.json()) {
      context.out() << "  None\n";
    }
    return report;
  }

  std::optional<std::string> terminate_;
  bool force_ = false;
};

}  // namespace

CommandPointer make_cleanup() { return std::make_unique<Cleanup>(); }

}  // namespace dbcache::cli
