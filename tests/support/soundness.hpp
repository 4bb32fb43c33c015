#pragma once

#include <string>

#include <dbcache/cache_manager.hpp>

#include "support/raw_database.hpp"

namespace dbcache::test {

/// What is wrong with a database, whoever wrote it and however they died; empty where all is well.
inline std::string unsoundness_of(const Options& options) {
  CacheManager manager(options);
  const VerifyReport report = manager.verify();
  if (!report.ok()) return "verify: " + report.problems.front().what;
  if (const auto drift = manager.replay({.mode = ReplayMode::check}).differences; !drift.empty()) {
    return "replay --check: " + drift.front().table + " " + drift.front().key + " " +
           drift.front().column;
  }
  if (!options.schema.empty()) return "";  // a server's
  if (const auto check = query_text(options.database, "PRAGMA integrity_check"); check != "ok") {
    return "integrity_check: " + check;
  }
  return "";
}

inline std::string unsoundness_of(const std::string& path) {
  return unsoundness_of(Options{.database = path});
}

}  // namespace dbcache::test
