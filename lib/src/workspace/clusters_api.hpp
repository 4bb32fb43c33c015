#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include <dbcache/databricks.hpp>

#include "workspace/api.hpp"

// The Clusters API 2.1 (https://docs.databricks.com/api/workspace/clusters).
namespace dbcache::workspace {

using States = std::vector<databricks::ClusterState>;

/// Every state of a cluster that costs money or will.
extern const States active_states;

/// The tags that dbcache gives its clusters. Azure may give a key back as `x_KEY`, where the
/// workspace has a tag of that name too.
inline constexpr std::string_view token_tag = "dbcache-token";
inline constexpr std::string_view config_tag = "dbcache-config";
inline constexpr std::string_view owner_tag = "dbcache-owner";

/// The value of one of these tags; empty if the cluster has none.
std::string tag_of(const databricks::Cluster& cluster, std::string_view key);

/// As RFC 3986 has it for a value in a query.
std::string percent_encoded(std::string_view text);

class ClustersApi {
 public:
  explicit ClustersApi(Api api) : api_(std::move(api)) {}

  [[nodiscard]] const Api& api() const noexcept { return api_; }

  /// Nothing if it is gone. Throws where that is not known.
  [[nodiscard]] std::optional<databricks::Cluster> get(const std::string& cluster_id,
                                                       const Bounds& bounds) const;

  /// Those in one of the states; in any if there are none.
  [[nodiscard]] std::vector<databricks::Cluster> list(const States& states,
                                                      const Bounds& bounds) const;

  /// Those whose token tag is `token`, oldest first.
  [[nodiscard]] std::vector<databricks::Cluster> with_token(const std::string& token,
                                                            const States& states,
                                                            const Bounds& bounds) const;
  /// Those whose state is unknown, and which no filter by state names therefore: reads a list of
  /// all clusters of 30 days, which may be long.
  [[nodiscard]] std::vector<databricks::Cluster> unknown_with_token(const std::string& token,
                                                                    const Bounds& bounds) const;

  /// Terminates it, and removes it too if `permanently`. Does nothing if it has ended. Returns
  /// whether the workspace knows it.
  bool remove(const std::string& cluster_id, bool permanently, const Bounds& bounds) const;

 private:
  /// What a 404 means that is not the Clusters API's own word for gone: throws unless this is a
  /// workspace whose list does not have the cluster among the active ones.
  void require_gone(const std::string& cluster_id, const databricks::Refusal& refusal,
                    const Bounds& bounds) const;

  Api api_;
};

/// A cluster of the API's answers. Throws WorkspaceUnavailable if it has no id or no state.
databricks::Cluster read_cluster(const boost::json::object& body);

}  // namespace dbcache::workspace
