#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "projections/rows.hpp"

namespace dbcache::projections {

/// Reading the projected tables. Throws CorruptDatabase where a row holds what it cannot.
class TableReader {
 public:
  TableReader() = default;
  TableReader(const TableReader&) = delete;
  TableReader& operator=(const TableReader&) = delete;
  virtual ~TableReader() = default;

  [[nodiscard]] virtual std::optional<CachedCluster> cluster(std::string_view cluster_id) const = 0;

  /// The rows that fit the filter, newest (highest id) first, at most `limit`.
  [[nodiscard]] virtual std::vector<CachedCluster> clusters(
      const ClusterFilter& filter, Timestamp now,
      std::optional<std::size_t> limit = std::nullopt) const = 0;

  /// All but the file's size.
  [[nodiscard]] virtual CacheStatistics statistics(Timestamp now) const = 0;

  [[nodiscard]] virtual std::optional<RegistryEntry> entry(std::string_view config_hash) const = 0;

  /// Newest first.
  [[nodiscard]] virtual std::vector<RegistryEntry> entries() const = 0;

  /// Every row as it is stored, whatever it holds, in order of its key.
  [[nodiscard]] virtual std::vector<RawRow> raw_clusters() const = 0;
  [[nodiscard]] virtual std::vector<RawRow> raw_entries() const = 0;
};

/// The narrow interface through which `project` writes the tables; nothing else writes them.
class Tables : public TableReader {
 public:
  /// Puts a row in, in place of the one of the same cluster_id or config_hash.
  virtual void put(const CachedCluster& row) = 0;
  virtual void put(const RegistryEntry& row) = 0;

  /// Takes a row out, if it is there.
  virtual void erase_cluster(std::string_view cluster_id) = 0;
  virtual void erase_entry(std::string_view config_hash) = 0;

  /// Empties both tables.
  virtual void clear() = 0;
};

}  // namespace dbcache::projections
