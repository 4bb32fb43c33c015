#include <fmt/format.h>

#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/progress_bar.hpp"

namespace dbcache::cli {
namespace {

std::string in_a_line(const RowDifference& difference) {
  std::string row = fmt::format("{} {}: ", escape(difference.table), escape(difference.key));
  switch (difference.kind) {
    case RowDifference::Kind::missing:
      return row + "the row is missing, but the log has it";
    case RowDifference::Kind::unexpected:
      return row + "the row exists, but the log does not have it";
    case RowDifference::Kind::changed:
      return row + fmt::format("{} is {}, but the log says {}", escape(difference.column),
                               column_text(difference.found), column_text(difference.expected));
  }
  return row;
}

std::string outcome(const ReplayReport& report) {
  const auto count = static_cast<std::int64_t>(report.differences.size());
  if (report.rebuilt) {
    return fmt::format("Rebuilt the tables from the log: {} repaired.",
                       count_of(count, "difference", "differences"));
  }
  if (count == 0) return "The tables match the log.";
  return "The tables differ from the log; dbcache replay rebuilds them.";
}

class Replay final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"replay", Group::log, "Rebuild the tables from the log, or compare them with it",
            "dbcache replay --check"};
  }

  void declare(Arguments& arguments) override {
    arguments.flag("--check", check_,
                   "Compare only, and change nothing; exit code 1 if they differ");
  }

  ExitCode run(Context& context) override {
    const ReplayReport report = replay(context);
    if (context.json()) {
      context.print_json(to_json(report));
    } else {
      print(context, report);
    }
    return check_ && !report.differences.empty() ? ExitCode::no : ExitCode::done;
  }

 private:
  [[nodiscard]] ReplayReport replay(Context& context) const {
    ProgressBar bar(context.terminal());
    ReplayOptions options;
    options.mode = check_ ? ReplayMode::check : ReplayMode::rebuild;
    options.on_progress = [&bar](const LogProgress& progress) { bar.show(progress); };
    return context.manager().replay(options);
  }

  void print(Context& context, const ReplayReport& report) const {
    std::ostream& out = context.out();
    print_title(out, check_ ? "Replay Check" : "Replay");
    print_field(out, "Events", report.events);
    print_field(out, "Clusters", report.clusters);
    print_field(out, "Registry Entries", report.registry_entries);
    print_field(out, "Differences", static_cast<std::int64_t>(report.differences.size()));
    print_database_note(context);
    if (!report.differences.empty()) out << '\n';
    for (const RowDifference& difference : report.differences) {
      out << "  " << in_a_line(difference) << '\n';
    }
    out << '\n' << outcome(report) << '\n';
  }

  bool check_ = false;
};

}  // namespace

CommandPointer make_replay() { return std::make_unique<Replay>(); }

}  // namespace dbcache::cli
