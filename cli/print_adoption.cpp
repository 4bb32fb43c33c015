#include "cli/print_adoption.hpp"

#include <fmt/format.h>

#include "cli/print.hpp"

namespace dbcache::cli {

void report_adoption(Context& context) {
  if (context.manager_if_made() == nullptr) return;
  const auto report = context.manager().adoption();
  if (!report) return;
  print_diagnostic(
      context.terminal(),
      fmt::format("adopted {} and {} from {} (times without an offset read as {})",
                  count_of(report->clusters, "cluster", "clusters"),
                  count_of(report->registry_entries, "registry entry", "registry entries"),
                  context.manager().database_location().path, report->timezone));
  for (const std::string& note : report->notes) print_diagnostic(context.terminal(), "  " + note);
}

}  // namespace dbcache::cli
