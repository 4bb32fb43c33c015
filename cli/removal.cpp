#include "cli/removal.hpp"

#include <algorithm>

#include <boost/json/array.hpp>

#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

constexpr std::size_t most_listed = 20;

void print_plan(std::ostream& out, const PlannedRemoval& planned) {
  print_title(out, planned.title);
  for (std::size_t at = 0; at < std::min(planned.what.size(), most_listed); ++at) {
    out << "  " << escape(planned.what[at]) << '\n';
  }
  if (planned.what.size() > most_listed) {
    out << "  ... and " << planned.what.size() - most_listed << " more\n";
  }
}

std::string question(const PlannedRemoval& planned) {
  const auto count = static_cast<std::int64_t>(planned.what.size());
  return "Remove " + count_of(count, planned.one, planned.many) + "?";
}

}  // namespace

HeldClusters held_clusters(bool force) {
  return force ? HeldClusters::remove : HeldClusters::leave;
}

void print_removal(Context& context, const std::string& total, const Removal& removal) {
  print_field(context.out(), total, static_cast<std::int64_t>(removal.removed));
  for (const std::string& held : removal.held) {
    context.out() << "  Kept, because a live lease holds it: " << escape(held) << '\n';
  }
  if (!removal.held.empty()) {
    context.out() << "  (dbcache leases shows the holder; --force removes it anyway)\n";
  }
}

boost::json::object removal_json(const Removal& removal) {
  boost::json::object document{{"removed", removal.removed}};
  if (!removal.held.empty()) {
    document["held"] = boost::json::array(removal.held.begin(), removal.held.end());
  }
  return document;
}

ExitCode confirm_and_remove(Context& context, const PlannedRemoval& planned) {
  const bool asks = context.can_ask() && !planned.confirmed;
  // With --json, stdout carries the document alone.
  if (!context.json()) print_plan(context.out(), planned);
  if (context.json() && asks) print_plan(context.terminal().err, planned);

  // On a terminal, remove only what the plan has shown: nothing, if it was empty.
  const bool nothing = asks && planned.what.empty();
  const bool agreed = !asks || nothing || context.confirm(question(planned));
  const Removal removal = agreed && !nothing ? planned.remove() : Removal{};
  if (context.json()) {
    context.print_json(removal_json(removal));
  } else {
    print_removal(context, planned.total, removal);
  }
  return agreed ? ExitCode::done : ExitCode::no;
}

}  // namespace dbcache::cli
