#include <optional>
#include <string>

#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>
#include <dbcache/move.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/progress_bar.hpp"

namespace dbcache::cli {
namespace {

/// An unset variable in a script must not select another database.
void require_named(const std::string& option, const std::optional<std::string>& name) {
  if (name && name->empty()) throw InvalidArgument(option + " is empty; give a name");
}

class Move final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {
        "move", Group::log, "Move the log, and the tables made from it, to another database",
        "dbcache move --from Environment/Databricks/cluster_cache.db --to moved.db",
        "The new database must be empty. move checks every event and every row there, and\n"
        "then closes the old database. From then on the old database refuses changes, and names\n"
        "the new one. During a move no process may hold a lease, create, check or terminate a\n"
        "cluster, or take part in a run.\n\n"
        "If a move is interrupted, run it again to resume it, or give it up with --cancel."};
  }

  void declare(Arguments& arguments) override {
    arguments.required("--from", "DATABASE", from_, "The old database");
    arguments.optional("--to", "DATABASE", to_,
                       "The new database, which is empty or does not exist yet");
    arguments.optional("--from-schema", "NAME", from_schema_,
                       "The PostgreSQL schema of the old database; default: that of --schema");
    arguments.optional("--to-schema", "NAME", to_schema_,
                       "The PostgreSQL schema of the new database; default: that of --schema");
    arguments.flag("--cancel", cancel_,
                   "Give up an unfinished move: the old database accepts changes again");
  }

  ExitCode run(Context& context) override {
    if (!context.options().database.empty()) {
      throw InvalidArgument("move does not take --database; give --from and --to");
    }
    if (cancel_ == to_.has_value()) {
      throw InvalidArgument("move needs either --to or --cancel; give one of them");
    }
    require_named("--from", from_);
    require_named("--to", to_);
    require_named("--from-schema", from_schema_);
    require_named("--to-schema", to_schema_);
    Options to = context.options();
    Options from = to;
    from.database = from_;
    if (from_schema_) from.schema = *from_schema_;
    // Open it with the manager, which reports adopted rows.
    context.options() = from;
    static_cast<void>(context.manager().get_database_info());
    if (cancel_) return cancel(context, from);
    to.database = *to_;
    if (to_schema_) to.schema = *to_schema_;
    return move(context, from, to);
  }

 private:
  static ExitCode cancel(Context& context, const Options& from) {
    const bool cancelled = cancel_move(from);
    if (context.json()) {
      context.print_json({{"cancelled", cancelled}});
    } else {
      context.out() << (cancelled ? "cancelled: the database accepts changes again\n"
                                  : "there was no move to cancel: the database accepts changes\n");
    }
    return ExitCode::done;
  }

  static ExitCode move(Context& context, const Options& from, const Options& to) {
    ProgressBar bar(context.terminal());
    const MoveReport report = move_log(
        from, to, {.on_progress = [&bar](const LogProgress& progress) { bar.show(progress); }});
    if (context.json()) {
      context.print_json(to_json(report));
    } else {
      print(context.out(), report);
    }
    return ExitCode::done;
  }

  static void print(std::ostream& out, const MoveReport& report) {
    print_title(out, "Move");
    print_field(out, "From", report.from);
    print_field(out, "To", report.to);
    print_field(out, "Events", report.head.events);
    print_field(out, "Copied Now", report.copied);
    print_field(out, "Head", fmt::format("{}:{}", report.head.events, report.head.hash));
    out << (report.was_moved_before ? "\nThe log was moved before, and is complete.\n"
                                    : "\nMoved, with every event and every row checked. The old "
                                      "database refuses changes now.\n")
        << "From now on, use --database " << escape(report.to) << '\n';
  }

  std::string from_;
  std::optional<std::string> to_;
  std::optional<std::string> from_schema_;
  std::optional<std::string> to_schema_;
  bool cancel_ = false;
};

}  // namespace

CommandPointer make_move() { return std::make_unique<Move>(); }

}  // namespace dbcache::cli
