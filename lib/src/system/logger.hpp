#pragma once

#include <memory>

#include <spdlog/logger.h>

namespace dbcache::system {

/// The spdlog logger named "dbcache": that of the program if it registered one, or else one that
/// writes warnings to stderr. Do not call it while you hold a connection, since a sink is user
/// code. Thread-safe.
std::shared_ptr<spdlog::logger> logger();

}  // namespace dbcache::system
