#include "system/logger.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <dbcache/errors.hpp>

#include "system/fork_gate.hpp"

namespace dbcache::system {

namespace {

/// Keeps forks out, since a child would find the mutex of the spdlog registry locked. A child whose
/// fork did not wait does not touch the registry.
std::shared_ptr<spdlog::logger> registered_logger() {
  try {
    const ForkGate::Pass pass;
    return spdlog::get("dbcache");
  } catch (const StorageFailure&) {
    return nullptr;
  }
}

}  // namespace

std::shared_ptr<spdlog::logger> logger() {
  if (auto registered = registered_logger()) return registered;
  static const auto own = [] {
    auto logger = std::make_shared<spdlog::logger>(
        "dbcache", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_level(spdlog::level::warn);
    return logger;
  }();
  return own;
}

}  // namespace dbcache::system
