#pragma once

#include "commands/adopt.hpp"
#include "projections/tables.hpp"
#include "store/sqlite/connection.hpp"

namespace dbcache::store::sqlite {

/// The documented tables in SQLite.
class SqliteTables final : public projections::Tables {
 public:
  explicit SqliteTables(Connection& connection) : connection_(connection) {}

  std::optional<CachedCluster> cluster(std::string_view cluster_id) const override;
  std::vector<CachedCluster> clusters(const ClusterFilter& filter, Timestamp now,
                                      std::optional<std::size_t> limit) const override;
  CacheStatistics statistics(Timestamp now) const override;
  std::optional<RegistryEntry> entry(std::string_view config_hash) const override;
  std::vector<RegistryEntry> entries() const override;
  std::vector<projections::RawRow> raw_clusters() const override;
  std::vector<projections::RawRow> raw_entries() const override;

  void put(const CachedCluster& row) override;
  void put(const RegistryEntry& row) override;
  void erase_cluster(std::string_view cluster_id) override;
  void erase_entry(std::string_view config_hash) override;
  void clear() override;

  /// The rows as the Python system left them, with columns that the document does not have, too.
  [[nodiscard]] commands::DocumentedRows documented_rows() const;

 private:
  Connection& connection_;
};

}  // namespace dbcache::store::sqlite
