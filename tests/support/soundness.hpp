#pragma once

#include <string>

#include <dbcache/cache_manager.hpp>

#include "support/raw_database.hpp"

namespace dbcache::test {

/// What is wrong with a database, whoever wrote it and however they died; empty where all is well.
inline std::string unsoundness_of(const std::string& path) {
  CacheManager manager({.database = path});
  const VerifyReport report = manager.verify();
  if (!report.ok()) return "verify: " + report.problems.front().what;
  if (const auto drift = manager.replay({.mode = ReplayMode::check}).differences; !drift.empty()) {
    return "replay --check: " + drift.front().table + " " + drift.front().key + " " +
           drift.front().column;
  }
  if (const auto check = query_text(path, "PRAGMA integrity_check"); check != "ok") {
    return "integrity_check: " + check;
  }
  return "";
}

}  // namespace dbcache::test
