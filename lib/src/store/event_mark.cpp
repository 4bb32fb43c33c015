#include "store/event_mark.hpp"

#include "store/engine.hpp"
#include "text/hex.hpp"
#include "text/sha256.hpp"

namespace dbcache::store {

std::string event_mark(std::string_view hash, std::string_view incarnation) {
  constexpr std::size_t digits = 16;
  const text::Digest digest = text::Sha256().update(incarnation).update(hash).finish();
  return text::to_hex(digest).substr(0, digits);
}

std::vector<rows::LoggedEvent> EventLogReader::events_at(
    const std::vector<std::int64_t>& positions) const {
  std::vector<rows::LoggedEvent> events;
  std::string incarnation;
  for (EventFact& fact : facts_at(positions)) {
    if (incarnation.empty()) incarnation = this->incarnation();
    events.push_back({{fact.position, event_mark(fact.hash, incarnation)}, std::move(fact.type)});
  }
  return events;
}

}  // namespace dbcache::store
