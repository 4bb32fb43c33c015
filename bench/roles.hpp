#pragma once

#include <string>
#include <vector>

namespace dbcache::bench {

/// What a process of this program does for another (worker.hpp). Each says a number when it is
/// ready.
///   contend ours|baseline DATABASE HASH MILLISECONDS
///     reads when to begin (on the steady clock), increments for so long; says how many calls ended
///     in that time, how many failed, and how long each took
///   replay DATABASE check|rebuild
///     says the largest size that the process had, in KiB, how long it took, and how many rows
///     differed
///   create DATABASE, wait DATABASE
///     begins to create a cluster and never comes to an end; waits for it
///   hold-baseline DATABASE HASH
///     a process of the baseline's that has made one call, and sleeps
int play(const std::vector<std::string>& role);

}  // namespace dbcache::bench
