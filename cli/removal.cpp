#include "cli/removal.hpp"

#include <algorithm>

#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

constexpr std::size_t most_listed = 20;

void print_plan(std::ostream& out, const Removal& removal) {
  print_title(out, removal.title);
  for (std::size_t at = 0; at < std::min(removal.what.size(), most_listed); ++at) {
    out << "  " << escape(removal.what[at]) << '\n';
  }
  if (removal.what.size() > most_listed) {
    out << "  ... and " << removal.what.size() - most_listed << " more\n";
  }
}

std::string question(const Removal& removal) {
  const auto count = static_cast<std::int64_t>(removal.what.size());
  return "Remove " + count_of(count, removal.one, removal.many) + "?";
}

}  // namespace

ExitCode remove_as_asked(Context& context, const Removal& removal) {
  const bool asks = context.can_ask() && !removal.confirmed;
  // With --json, stdout belongs to the document.
  if (!context.json()) print_plan(context.out(), removal);
  if (context.json() && asks) print_plan(context.terminal().err, removal);

  // What nobody was shown is not removed either, where somebody could have been asked.
  const bool nothing = asks && removal.what.empty();
  const bool agreed = !asks || nothing || context.confirm(question(removal));
  const std::int64_t removed = agreed && !nothing ? removal.remove() : 0;
  if (context.json()) {
    context.print_json({{"removed", removed}});
  } else {
    print_field(context.out(), removal.total, removed);
  }
  return agreed ? ExitCode::done : ExitCode::no;
}

}  // namespace dbcache::cli
