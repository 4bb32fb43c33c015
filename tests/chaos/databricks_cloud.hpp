#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <dbcache/shared_clusters.hpp>

#include "workspace/http.hpp"
#include "workspace/lifecycle.hpp"

namespace dbcache::chaos {

/// For how long a cluster may still appear after the last request to create it.
inline constexpr std::chrono::seconds latest_cluster{4};

/// The clusters of the fake workspace of tests/workspace/fake, which is asked over HTTPS: by what
/// users have, in a hurry.
class DatabricksCloud {
 public:
  /// `directory` is the fake's, which has started there once. Sets SSL_CERT_FILE: not beside other
  /// threads.
  explicit DatabricksCloud(const std::filesystem::path& directory);

  /// The configuration with this number.
  [[nodiscard]] ClusterConfig configuration(int number) const;

  [[nodiscard]] ClusterLifecycle lifecycle() const;

  /// The cluster ends without anybody having asked for that; nothing happens where the workspace is
  /// out of reach.
  void die(const std::string& cluster_id);

 private:
  std::string control_;
  std::shared_ptr<workspace::Lifecycle> lifecycle_;
  workspace::Http http_;
};

}  // namespace dbcache::chaos
