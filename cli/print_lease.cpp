#include "cli/print_lease.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "cli/print.hpp"
#include "cli/wait_line.hpp"

namespace dbcache::cli {

void report_pending_termination(Context& context, const ReleaseReport& report) {
  if (!report.owed || report.settled) return;
  const std::string why = report.error ? ": " + *report.error : "";
  print_diagnostic(
      context.terminal(),
      fmt::format("the cluster {} is not terminated yet{}; dbcache owed lists it, and dbcache "
                  "cleanup with --terminate CMD or --workspace terminates it",
                  *report.owed, why));
}

void print_holder(std::ostream& out, const std::string& key, const HolderInfo& holder) {
  print_field(out, key, holder_text(holder));
  print_field(out, "Alive", yes_no(holder.alive));
  if (holder.until) print_field(out, "Until", format_seconds(*holder.until));
}

std::string shell_quoted(const std::string& text) {
  const bool is_plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char character) {
    return std::isalnum(static_cast<unsigned char>(character)) != 0 ||
           std::string_view("_-./:@%+=,").find(character) != std::string_view::npos;
  });
  if (is_plain) return text;
  std::string quoted = "'";
  for (const char character : text) {
    if (character == '\'') {
      quoted += "'\\''";
    } else {
      quoted += character;
    }
  }
  return quoted + "'";
}

}  // namespace dbcache::cli
