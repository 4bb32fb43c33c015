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
  if (name && name->empty()) throw InvalidArgument(option + ": the name is empty");
}

class Move final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {
        "move", Group::log, "Move the log, and all that it says, to another database",
        "dbcache move --from Environment/Databricks/cluster_cache.db --to moved.db",
        "The new database must be empty. Every event and every row is checked there before the "
        "old\n"
        "one is given up; from then on that takes no changes, and tells where its log went. "
        "Nobody\n"
        "may hold a lease meanwhile, nor create, check or terminate a cluster, nor be in a run.\n\n"
        "Should it be interrupted, run it again: it goes on where it was. Or give it up: "
        "--cancel."};
  }

  void declare(Arguments& arguments) override {
    arguments.required("--from", "DATABASE", from_, "The database whose log is moved");
    arguments.optional("--to", "DATABASE", to_,
                       "Where it goes: a database that is empty or not made yet");
    arguments.optional("--from-schema", "NAME", from_schema_,
                       "Where PostgreSQL has it, if not where --schema says");
    arguments.optional("--to-schema", "NAME", to_schema_,
                       "Where PostgreSQL is to have it, likewise");
    arguments.flag("--cancel", cancel_,
                   "Give up a move that did not end: the old database takes changes again");
  }

  ExitCode run(Context& context) override {
    if (!context.options().database.empty()) {
      throw InvalidArgument("move takes --from and --to in place of --database");
    }
    if (cancel_ == to_.has_value()) {
      throw InvalidArgument("give either --to, where the log goes, or --cancel");
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
      context.out() << (cancelled ? "cancelled: the database takes changes again\n"
                                  : "no move was under way: the database takes changes\n");
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
    out << (report.was_moved_before ? "\nIt was moved before, and is all there.\n"
                                    : "\nMoved: every event and every row was checked there. The "
                                      "old database takes no\n"
                                      "changes any more.\n")
        << "From now on: --database " << escape(report.to) << '\n';
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
