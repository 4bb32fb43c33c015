#include "cli/command.hpp"

#include <istream>
#include <string>

#include <dbcache/json.hpp>

#include "cli/print.hpp"

namespace dbcache::cli {

Context::Context(Terminal& terminal, const Globals& globals)
    : terminal_(terminal), options_(globals.options), json_(globals.json) {
  options_.clock = terminal.clock;
}

void Context::print_json(const boost::json::value& document) {
  out() << write_json(document) << '\n';
}

CacheManager& Context::manager() {
  if (!manager_) manager_.emplace(options_);
  return *manager_;
}

const CacheManager* Context::manager_if_made() const noexcept {
  return manager_ ? &*manager_ : nullptr;
}

ExitCode Context::answer_no(std::string_view why) {
  print_diagnostic(terminal_, why);
  return ExitCode::no;
}

bool Context::can_ask() const noexcept {
  return terminal_.in_is_terminal && terminal_.out_is_terminal;
}

bool Context::confirm(std::string_view question) {
  if (!can_ask()) return true;
  // With --json, stdout carries the document alone.
  std::ostream& asked = json_ ? terminal_.err : terminal_.out;
  asked << question << " [y/N] " << std::flush;
  std::string answer;
  if (!std::getline(terminal_.in, answer)) asked << '\n';
  return answer == "y" || answer == "Y" || answer == "yes" || answer == "Yes";
}

}  // namespace dbcache::cli
