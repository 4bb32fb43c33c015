#pragma once

#include <chrono>
#include <optional>
#include <poll.h>
#include <span>

#include "cli/process/descriptor.hpp"

namespace dbcache::cli {

/// What a system call returned; throws std::system_error, naming it, where that is -1.
int checked(int result, const char* call);

/// A descriptor that can be waited for, and that only ever becomes readable: it tells one thread
/// that another has something for it.
Descriptor make_event();
void raise_event(const Descriptor& event) noexcept;

/// Of a process: readable once it has ended.
Descriptor open_process(int pid);

/// poll(2): until one of these is ready, or until `end`. Signals do not interrupt it.
void wait_for(std::span<pollfd> descriptors,
              std::optional<std::chrono::steady_clock::time_point> end = std::nullopt);

}  // namespace dbcache::cli
