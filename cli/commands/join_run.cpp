#include <utility>

#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/process/guard.hpp"

namespace dbcache::cli {
namespace {

/// A guard's part in a run.
class GuardedMembership final : public GuardedResource {
 public:
  GuardedMembership(SharedClusters clusters, RunMembership membership)
      : clusters_(std::move(clusters)), membership_(std::move(membership)) {}

  [[nodiscard]] boost::json::object report() override {
    return {{"participant", membership_.id()},
            {"name", membership_.name()},
            {"run", membership_.run()}};
  }
  /// No other process ends a membership.
  [[nodiscard]] bool was_ended_elsewhere() override { return false; }
  void release(const std::stop_token&) override { membership_.leave(); }

 private:
  SharedClusters clusters_;
  RunMembership membership_;
};

class JoinRun final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"join-run", Group::leases,
            "Take part in a run: its clusters are handed back only after it ends",
            "dbcache join-run nightly --while-pid $$"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("NAME", run_, "The name of the run");
    arguments.required("--while-pid", "N", while_pid_, "Take part while this process lives");
    arguments.optional("--name", "TEXT", name_, "The name of the participant");
    arguments.optional("--kind", "WORD", kind_,
                       "The kind of participant, such as worker; default: process");
  }

  ExitCode run(Context& context) override {
    const GuardAnswer answer =
        start_guard(context, open_while_pid(while_pid_), [this](Context& guards, SignalThread&) {
          SharedClusters clusters(guards.manager());
          RunMembership membership = clusters.join_run(run_, kind_.value_or("process"), name_);
          return std::make_unique<GuardedMembership>(std::move(clusters), std::move(membership));
        });
    if (answer.code != ExitCode::done) {
      print_diagnostic(context.terminal(), answer.error);
      return answer.code;
    }
    if (context.json()) {
      context.print_json(answer.report);
    } else {
      context.out() << std::string(answer.report.at("name").as_string()) << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::string run_;
  std::int64_t while_pid_ = 0;
  std::optional<std::string> name_;
  std::optional<std::string> kind_;
};

}  // namespace

CommandPointer make_join_run() { return std::make_unique<JoinRun>(); }

}  // namespace dbcache::cli
