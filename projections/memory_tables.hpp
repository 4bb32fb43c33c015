#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "rows/tables.hpp"

namespace dbcache::projections {

/// The projected tables in memory: what replay builds and compares with, and what tests model with.
class MemoryTables final : public rows::Tables {
 public:
  std::optional<CachedCluster> cluster(std::string_view cluster_id) const override;
  std::vector<CachedCluster> clusters(const ClusterFilter& filter, Timestamp now,
                                      std::optional<std::size_t> limit) const override;
  CacheStatistics statistics(Timestamp now) const override;
  std::optional<RegistryEntry> entry(std::string_view config_hash) const override;
  std::vector<RegistryEntry> entries() const override;
  std::optional<rows::Share> share(std::string_view config_hash) const override;
  std::optional<rows::Lease> lease(std::int64_t id) const override;
  std::optional<rows::Debt> debt(std::string_view subject) const override;
  std::vector<rows::Share> shares() const override;
  std::vector<rows::Lease> leases() const override;
  std::vector<rows::Debt> debts() const override;
  std::vector<rows::Participant> participants() const override;
  std::vector<rows::RawRow> raw_rows(std::string_view table) const override;

  void put(const CachedCluster& row) override;
  void put(const RegistryEntry& row) override;
  void erase_cluster(std::string_view cluster_id) override;
  void erase_entry(std::string_view config_hash) override;
  void put(const rows::Share& row) override;
  void put(const rows::Lease& row) override;
  void put(const rows::Debt& row) override;
  void put(const rows::Participant& row) override;
  void erase_share(std::string_view config_hash) override;
  void erase_lease(std::int64_t id) override;
  void erase_debt(std::string_view subject) override;
  void erase_participant(std::int64_t id) override;
  void change_cluster(std::string_view cluster_id, const Change<CachedCluster>& change) override;
  void change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) override;
  void change_share(std::string_view config_hash, const Change<rows::Share>& change) override;
  void change_debt(std::string_view subject, const Change<rows::Debt>& change) override;
  void clear() override;

  /// Puts every row into `target`.
  void copy_to(rows::Tables& target) const;

  [[nodiscard]] std::size_t cluster_count() const { return clusters_.size(); }
  [[nodiscard]] std::size_t entry_count() const { return entries_.size(); }

 private:
  struct HashOfText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  // Replay looks rows up several times an event, and asks for them in order once.
  template <class Row>
  using RowsByText = std::unordered_map<std::string, Row, HashOfText, std::equal_to<>>;

  RowsByText<CachedCluster> clusters_;
  RowsByText<RegistryEntry> entries_;
  RowsByText<rows::Share> shares_;
  std::map<std::int64_t, rows::Lease> leases_;
  RowsByText<rows::Debt> debts_;
  std::map<std::int64_t, rows::Participant> participants_;
};

}  // namespace dbcache::projections
