#include "coordination/open_store.hpp"

#include <optional>
#include <string>
#include <utility>

#include "commands/adopt.hpp"
#include "system/environment.hpp"

namespace dbcache::coordination {
namespace {

/// Every row becomes an event, its local times read in that zone (empty: this machine's).
store::Store::Adopt adopter(const std::string& timezone) {
  // This machine's zone is read only where there is something to adopt.
  std::optional<commands::Zone> given;
  if (!timezone.empty()) given.emplace(timezone);
  return [given](const rows::DocumentedRows& documented, Timestamp now) {
    const input::Redactor redactor(system::Environment::read().databricks_token);
    return commands::adopt(documented, given ? *given : commands::Zone(""), redactor, now);
  };
}

}  // namespace

std::shared_ptr<store::Store> open_store(Options options) {
  auto adopt = adopter(options.adoption_timezone);
  return std::make_shared<store::Store>(std::move(options), std::move(adopt));
}

}  // namespace dbcache::coordination
