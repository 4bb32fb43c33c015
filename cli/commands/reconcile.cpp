#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>

#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/process/signals.hpp"
#include "cli/workspace_lifecycle.hpp"

namespace dbcache::cli {
namespace {

class Reconcile final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {
        .name = "reconcile",
        .group = Group::leases,
        .summary = "Ask the Databricks workspace which clusters are gone, and record that",
        .example = "dbcache reconcile --orphans",
        .notes =
            "Clusters that have ended are taken out of the database: their leases are lost, and\n"
            "pending terminations of them are cancelled. Where the workspace does not say\n"
            "whether a cluster runs, nothing changes, and the exit code is 1.\n"
            "An orphan is an active cluster that a creation of this database made, at least an\n"
            "hour ago, and that nothing in the database names any more."};
  }

  void declare(Arguments& arguments) override {
    arguments_.declare_profile(arguments);
    arguments.flag("--orphans", orphans_, "Also list orphans");
    arguments.flag("--terminate", terminate_, "With --orphans: terminate them");
  }

  ExitCode run(Context& context) override {
    arguments_.check(/*has_command=*/false);
    if (terminate_ && !orphans_) {
      throw InvalidArgument("--terminate is for orphans; give --orphans too");
    }
    const databricks::Workspace workspace(arguments_.options());
    const BlockedSignals blocked;
    SignalThread signals(blocked);
    databricks::CallBounds bounds;
    bounds.stop = signals.stop();
    bounds.patience = std::chrono::minutes{1};
    try {
      boost::json::object document;
      ExitCode code = reconcile(context, workspace, bounds, document);
      if (orphans_) {
        const ExitCode of_orphans = look_for_orphans(context, workspace, bounds, document);
        if (of_orphans != ExitCode::done) code = of_orphans;
      }
      if (context.json()) context.print_json(document);
      return code;
    } catch (const std::exception& error) {
      if (signals.first() == 0) throw;
      print_diagnostic(context.terminal(), error.what());
      return exit_code_of_signal(signals.first());
    }
  }

 private:
  static boost::json::array names(const std::vector<std::string>& ids) {
    boost::json::array array;
    for (const std::string& id : ids) array.emplace_back(id);
    return array;
  }

  static ExitCode reconcile(Context& context, const databricks::Workspace& workspace,
                            const databricks::CallBounds& bounds, boost::json::object& document) {
    const databricks::ReconcileReport report =
        databricks::reconcile(context.manager(), workspace, bounds);
    boost::json::array unknown;
    for (const auto& one : report.unknown) {
      unknown.push_back({{"cluster_id", one.cluster_id}, {"error", one.error}});
    }
    document = {{"host", workspace.host()},
                {"running", names(report.running)},
                {"removed", names(report.removed)},
                {"unknown", std::move(unknown)},
                {"elsewhere", names(report.elsewhere)}};
    if (!context.json()) {
      std::ostream& out = context.out();
      print_title(out, "Reconcile With " + workspace.host());
      for (const std::string& id : report.running) print_field(out, "Runs", id);
      for (const std::string& id : report.removed) print_field(out, "Gone, and Removed", id);
      for (const auto& one : report.unknown) {
        print_field(out, "Not Known", one.cluster_id + ": " + one.error);
      }
      for (const std::string& id : report.elsewhere) {
        print_field(out, "Of Another Workspace", id);
      }
      if (report.running.empty() && report.removed.empty() && report.unknown.empty() &&
          report.elsewhere.empty()) {
        out << "  The database names no cluster\n";
      }
    }
    return report.unknown.empty() ? ExitCode::done : ExitCode::no;
  }

  ExitCode look_for_orphans(Context& context, const databricks::Workspace& workspace,
                            const databricks::CallBounds& bounds,
                            boost::json::object& document) const {
    const databricks::OrphanReport report =
        databricks::find_orphans(context.manager(), workspace, bounds);
    ExitCode code = ExitCode::done;
    boost::json::array orphans;
    if (!context.json()) print_title(context.out(), "Orphans");
    for (const databricks::Cluster& orphan : report.orphans) {
      boost::json::object told = to_json(orphan);
      told["terminated"] = false;
      std::string text = fmt::format("{} ({}, since {})", orphan.cluster_id,
                                     to_string(orphan.state), format_seconds(*orphan.start_time));
      if (terminate_) {
        try {
          const bool ended =
              databricks::terminate_orphan(context.manager(), workspace, orphan, bounds);
          told["terminated"] = ended;
          text += ended ? ": terminated" : ": left alone, since it is no orphan any more";
        } catch (const Cancelled&) {
          throw;
        } catch (const Error& error) {
          told["error"] = error.what();
          text += fmt::format(": not terminated: {}", error.what());
          code = ExitCode::failed;
        }
      }
      if (!context.json()) print_field(context.out(), "Orphan", text);
      orphans.push_back(std::move(told));
    }
    document["orphans"] = std::move(orphans);
    document["others"] = report.others;
    if (!context.json()) {
      if (report.orphans.empty()) context.out() << "  None\n";
      print_field(context.out(), "Of Other Databases, or Younger Than an Hour",
                  static_cast<std::int64_t>(report.others));
    }
    return code;
  }

  WorkspaceArguments arguments_;
  bool orphans_ = false;
  bool terminate_ = false;
};

}  // namespace

CommandPointer make_reconcile() { return std::make_unique<Reconcile>(); }

}  // namespace dbcache::cli
