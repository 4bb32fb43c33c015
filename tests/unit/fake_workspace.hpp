#pragma once

#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "rows/lease_rows.hpp"

namespace dbcache::test {

/// The truth about which clusters run. It honours idempotency tokens, as Databricks does.
class FakeWorkspace {
 public:
  std::string create(const std::string& token) {
    const auto known = by_token_.find(token);
    if (known != by_token_.end() && running.contains(known->second)) return known->second;
    // What this token stood for is dead, and the next to create with it notices.
    if (known != by_token_.end()) open.erase(known->second);
    const std::string id = fmt::format("c-{}", ++last_);
    by_token_[token] = id;
    running.insert(id);
    created.insert(id);
    open.insert(id);
    return id;
  }
  void terminate(const rows::PendingTermination& pending) {
    if (pending.cluster_id) {
      EXPECT_TRUE(created.contains(*pending.cluster_id)) << *pending.cluster_id;
      end(*pending.cluster_id);
    } else if (const auto known = by_token_.find(*pending.idempotency_token);
               known != by_token_.end()) {
      end(known->second);
    }
  }
  void end(const std::string& id) {
    running.erase(id);
    open.erase(id);
  }
  std::set<std::string> running;
  std::set<std::string> created;
  std::set<std::string> open;  ///< Those that nobody has ended or noticed to be dead yet.

 private:
  std::map<std::string, std::string> by_token_;
  int last_ = 0;
};

}  // namespace dbcache::test
