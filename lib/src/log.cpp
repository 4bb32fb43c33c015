#include "log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace dbcache {

std::shared_ptr<spdlog::logger> logger() {
  if (auto registered = spdlog::get("dbcache")) return registered;
  static const auto own = [] {
    auto logger = std::make_shared<spdlog::logger>(
        "dbcache", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_level(spdlog::level::warn);
    return logger;
  }();
  return own;
}

}  // namespace dbcache
