#pragma once

#include <functional>
#include <map>
#include <string>

#include "projections/tables.hpp"

namespace dbcache::projections {

/// The projected tables in memory: what replay builds and compares with, and what tests model with.
class MemoryTables final : public Tables {
 public:
  std::optional<CachedCluster> cluster(std::string_view cluster_id) const override;
  std::vector<CachedCluster> clusters(const ClusterFilter& filter, Timestamp now,
                                      std::optional<std::size_t> limit) const override;
  CacheStatistics statistics(Timestamp now) const override;
  std::optional<RegistryEntry> entry(std::string_view config_hash) const override;
  std::vector<RegistryEntry> entries() const override;
  std::vector<RawRow> raw_clusters() const override;
  std::vector<RawRow> raw_entries() const override;

  void put(const CachedCluster& row) override;
  void put(const RegistryEntry& row) override;
  void erase_cluster(std::string_view cluster_id) override;
  void erase_entry(std::string_view config_hash) override;
  void clear() override;

  /// Puts every row into `target`.
  void copy_to(Tables& target) const;

  [[nodiscard]] std::size_t cluster_count() const { return clusters_.size(); }
  [[nodiscard]] std::size_t entry_count() const { return entries_.size(); }

 private:
  std::map<std::string, CachedCluster, std::less<>> clusters_;
  std::map<std::string, RegistryEntry, std::less<>> entries_;
};

}  // namespace dbcache::projections
