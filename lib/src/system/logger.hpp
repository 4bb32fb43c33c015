#pragma once

#include <memory>

#include <spdlog/logger.h>

namespace dbcache::system {

/// The spdlog logger named "dbcache": the program's own if it registered one of that name, else one
/// that writes warnings to stderr. Never called while a connection is held, since a sink is user
/// code. Thread-safe.
std::shared_ptr<spdlog::logger> logger();

}  // namespace dbcache::system
