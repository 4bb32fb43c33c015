#pragma once

#include <cstdint>
#include <limits>
#include <variant>

#include "events/event.hpp"

namespace dbcache::commands {

using events::Events;

/// What a command comes to, and what its caller is told: every command is
/// `decide(command, present) -> Decision<Result>`.
template <class Result = std::monostate>
struct Decision {
  Events events;
  Result result{};
};

/// One more, but for a count that was driven to the end of its type from outside.
constexpr std::int64_t one_more(std::int64_t count) {
  return count < std::numeric_limits<std::int64_t>::max() ? count + 1 : count;
}

}  // namespace dbcache::commands
