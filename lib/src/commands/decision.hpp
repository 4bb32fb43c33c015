#pragma once

#include <vector>

#include "events/event.hpp"

namespace dbcache::commands {

/// What a command comes to; empty where it changes nothing.
using Events = std::vector<events::Event>;

/// What a command comes to, and what its caller is told.
template <class Result>
struct Decision {
  Events events;
  Result result{};
};

}  // namespace dbcache::commands
