#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dbcache::rows {

/// How an event is named outside its log. A position alone is not enough: every log has the same
/// small numbers.
struct EventName {
  std::int64_t position = 0;
  std::string mark{};  ///< Made of the event's hash and the log's incarnation; empty: not known.

  bool operator==(const EventName&) const = default;
};

/// What stands at a position.
struct LoggedEvent {
  EventName name;
  std::string type;
};

/// Answers what a log has under a name. Engines implement it, and tests do so for themselves.
class EventNames {
 public:
  EventNames() = default;
  EventNames(const EventNames&) = delete;
  EventNames& operator=(const EventNames&) = delete;
  virtual ~EventNames() = default;

  /// The events at these positions, in order of position; where there is none, it is left out.
  [[nodiscard]] virtual std::vector<LoggedEvent> events_at(
      const std::vector<std::int64_t>& positions) const = 0;
};

}  // namespace dbcache::rows
