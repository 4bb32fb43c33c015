#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/progress_bar.hpp"

namespace dbcache::cli {
namespace {

constexpr std::size_t hash_digits = 64;

std::string head_text(const LogHead& head) { return fmt::format("{}:{}", head.events, head.hash); }

LogHead parse_head(const std::string& text) {
  LogHead head;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, head.events);
  const bool counted = error == std::errc() && head.events >= 0 && stop != end && *stop == ':';
  if (counted) head.hash.assign(stop + 1, end);
  const bool hex = std::all_of(head.hash.begin(), head.hash.end(), [](char digit) {
    return std::isxdigit(static_cast<unsigned char>(digit)) != 0;
  });
  if (!counted || !hex || head.hash.size() != hash_digits) {
    throw InvalidArgument("--head must be N:HASH, as dbcache verify prints it, not '" + text + "'");
  }
  return head;
}

std::string in_a_line(const LogProblem& problem) {
  if (problem.position == 0) return escape(problem.what);
  return fmt::format("event {} ({}, version {}): {}", problem.position, escape(problem.stream),
                     problem.version, escape(problem.what));
}

class Verify final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"verify", Group::log, "Check every hash of the log, and that no event is missing",
            "dbcache verify"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("--head", "N:HASH", head_,
                       "A head that an earlier verify printed: the log must begin with it");
  }

  ExitCode run(Context& context) override {
    const VerifyReport report = verify(context);
    if (context.json()) {
      context.print_json(to_json(report));
    } else {
      print(context, report);
    }
    return report.ok() ? ExitCode::done : ExitCode::no;
  }

 private:
  [[nodiscard]] VerifyReport verify(Context& context) const {
    VerifyOptions options;
    if (head_) options.kept_head = parse_head(*head_);
    ProgressBar bar(context.terminal());
    options.on_progress = [&bar](const LogProgress& progress) { bar.show(progress); };
    return context.manager().verify(options);
  }

  void print(Context& context, const VerifyReport& report) const {
    std::ostream& out = context.out();
    print_title(out, "Verify Log");
    print_field(out, "Events", report.head.events);
    print_field(out, "Streams", report.streams);
    print_field(out, "Problems", static_cast<std::int64_t>(report.problems.size()));
    print_field(out, "Head", head_text(report.head));
    print_database_note(context);
    if (!report.problems.empty()) out << '\n';
    for (const LogProblem& problem : report.problems) out << "  " << in_a_line(problem) << '\n';
    out << '\n' << outcome(report);
  }

  [[nodiscard]] std::string outcome(const VerifyReport& report) const {
    if (!report.ok()) return "The log is not intact.\n";
    if (report.head.events == 0 && !head_) return "The log is empty.\n";
    if (head_) return "The log is intact, and begins with the kept head.\n";
    return "The events in the log are intact. Only a kept head shows whether its last events were\n"
           "cut off: keep the head above elsewhere, and give it to dbcache verify --head.\n";
  }

  std::optional<std::string> head_;
};

}  // namespace

CommandPointer make_verify() { return std::make_unique<Verify>(); }

}  // namespace dbcache::cli
