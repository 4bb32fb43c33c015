#pragma once

#include <chrono>
#include <optional>
#include <poll.h>
#include <span>

#include "cli/process/descriptor.hpp"

namespace dbcache::cli {

/// Returns the result of a system call; throws std::system_error with its name if that is negative.
int checked(int result, const char* call);

/// A descriptor by which one thread wakes another: it becomes readable once, and stays so.
Descriptor make_eventfd();
void raise_eventfd(const Descriptor& descriptor) noexcept;

/// A descriptor that becomes readable when the process exits.
Descriptor open_process(int pid);

/// Calls poll(2) until a descriptor is ready or `end` is reached. Signals do not interrupt it.
void wait_for(std::span<pollfd> descriptors,
              std::optional<std::chrono::steady_clock::time_point> end = std::nullopt);

}  // namespace dbcache::cli
