#pragma once

#include <cstdint>
#include <limits>
#include <variant>

#include "events/event.hpp"

namespace dbcache::commands {

using events::Events;

/// The events of a command, and the result for its caller. Every command is
/// `decide(command, present) -> Decision<Result>`.
template <class Result = std::monostate>
struct Decision {
  Events events;
  Result result{};
};

/// One more, unless the count is at its type's maximum, which only an altered database has.
constexpr std::int64_t one_more(std::int64_t count) {
  return count < std::numeric_limits<std::int64_t>::max() ? count + 1 : count;
}

}  // namespace dbcache::commands
