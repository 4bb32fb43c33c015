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

/// A descriptor that `wait_for` reports as readable when the process has ended: a pidfd, or where
/// this kernel or container refuses pidfd_open(2), the folder of the process in /proc. Both stand
/// for that process alone, in forked children too. Throws std::system_error where there is no such
/// process, and Error where it cannot be watched.
Descriptor open_process(int pid);

/// Closes all descriptors from one number to another, both included.
void close_descriptors(int from, int to);

/// An empty file for reading and writing that nobody else can find: in memory, or where
/// memfd_create(2) is refused, a temporary one that is deleted already.
Descriptor make_unnamed_file();

/// Calls poll(2) until a descriptor is ready or `end` is reached. Signals do not interrupt it.
void wait_for(std::span<pollfd> descriptors,
              std::optional<std::chrono::steady_clock::time_point> end = std::nullopt);

}  // namespace dbcache::cli
