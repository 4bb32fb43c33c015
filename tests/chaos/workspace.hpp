#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chaos/journal.hpp"

namespace dbcache::chaos {

/// A fake Databricks workspace in a directory, shared by processes: the truth of which clusters
/// run. A running cluster is a symbolic link, named for its idempotency token and pointing at its
/// id, so that each change is one system call, and whole although its caller is killed. Every call
/// is journaled before it begins and after it ended.
class Workspace {
 public:
  /// `caller` stands in the journal: the worker's number.
  Workspace(const std::filesystem::path& directory, std::int64_t caller);

  /// The id of the cluster that runs with this token, or of a new one, as Databricks answers.
  std::string create(std::string_view idempotency_token, std::string_view config_hash,
                     std::chrono::milliseconds takes);

  [[nodiscard]] bool runs(std::string_view cluster_id) const;

  /// Whether a cluster runs that was created with this token.
  [[nodiscard]] bool runs_with(std::string_view idempotency_token) const;

  /// Terminates a cluster; nothing happens where it does not run.
  void remove(std::string_view cluster_id, std::chrono::milliseconds takes);

  /// Terminates whatever runs with this token.
  void remove_created_with(std::string_view idempotency_token, std::chrono::milliseconds takes);

  /// The cluster ends of its own accord, as by autotermination.
  void die(std::string_view cluster_id);

  /// The ids of those that run.
  [[nodiscard]] std::vector<std::string> running() const;

 private:
  class Call;
  class FileLock;
  [[nodiscard]] std::filesystem::path link_of(std::string_view idempotency_token) const;
  void end(const std::filesystem::path& link, std::string_view cluster_id) const;

  std::filesystem::path running_;
  std::filesystem::path lock_;
  Journal journal_;
  std::int64_t caller_;
  std::int64_t calls_ = 0;
};

}  // namespace dbcache::chaos
