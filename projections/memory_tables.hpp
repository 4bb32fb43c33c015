#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "rows/tables.hpp"

namespace dbcache::projections {

/// The projected tables in memory. Replay builds them to compare with the database; tests use them
/// as a model.
class MemoryTables : public rows::Tables {
 public:
  std::optional<CachedCluster> cluster(std::string_view cluster_id) const override;
  std::vector<CachedCluster> clusters(const ClusterFilter& filter, Timestamp now,
                                      std::optional<std::size_t> limit) const override;
  CacheStatistics statistics(Timestamp now) const override;
  std::optional<RegistryEntry> entry(std::string_view config_hash) const override;
  std::vector<RegistryEntry> entries() const override;
  std::optional<rows::Share> share(std::string_view config_hash) const override;
  std::optional<rows::Lease> lease(std::int64_t id) const override;
  std::optional<rows::PendingTermination> pending_termination(
      std::string_view subject) const override;
  std::vector<rows::Share> shares() const override;
  std::vector<rows::Lease> leases() const override;
  std::vector<rows::PendingTermination> pending_terminations() const override;
  std::vector<rows::Participant> participants() const override;
  std::vector<rows::Lease> leases_of(std::string_view config_hash, Page page) const override;
  std::vector<rows::Lease> leases_on(std::string_view cluster_id, Page page) const override;
  std::int64_t count_leases_of(std::string_view config_hash) const override;
  std::vector<Naming> naming(std::string_view cluster_id) const override;
  std::vector<CachedCluster> active_clusters() const override;
  std::optional<CachedCluster> active_cluster(Timestamp now) const override;
  std::vector<rows::PendingTermination> pending_terminations_of(
      std::string_view config_hash) const override;
  std::vector<rows::PendingTermination> waiting_terminations(bool every_host,
                                                             const std::optional<std::string>& host,
                                                             std::optional<Timestamp> due_by,
                                                             std::size_t behind,
                                                             std::size_t limit) const override;
  std::optional<rows::Participant> participant(std::int64_t id) const override;
  std::vector<rows::Participant> participants_of(std::string_view run, Page page) const override;
  std::vector<std::string> configurations_of(std::string_view run) const override;
  std::vector<rows::Lease> leases_after(Page page) const override;
  std::vector<rows::Participant> participants_after(Page page) const override;
  std::vector<rows::Share> busy_shares_after(std::string_view config_hash,
                                             std::size_t limit) const override;
  std::vector<rows::PendingTermination> running_terminations() const override;
  std::vector<std::string> expired_configurations(Timestamp now, std::string_view after,
                                                  std::size_t limit) const override;
  std::vector<rows::RawRow> raw_rows(std::string_view table) const override;

  void put(const CachedCluster& row) override;
  void put(const RegistryEntry& row) override;
  void erase_cluster(std::string_view cluster_id) override;
  void erase_entry(std::string_view config_hash) override;
  void put(const rows::Share& row) override;
  void put(const rows::Lease& row) override;
  void put(const rows::PendingTermination& row) override;
  void put(const rows::Participant& row) override;
  void erase_share(std::string_view config_hash) override;
  void erase_lease(std::int64_t id) override;
  void erase_pending_termination(std::string_view subject) override;
  void erase_participant(std::int64_t id) override;
  void change_cluster(std::string_view cluster_id, const Change<CachedCluster>& change) override;
  void change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) override;
  void change_share(std::string_view config_hash, const Change<rows::Share>& change) override;
  void change_pending_termination(std::string_view subject,
                                  const Change<rows::PendingTermination>& change) override;
  void clear() override;

  /// Copies every row to `target`.
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
  // Replay looks up rows several times per event, but needs them in order only once.
  template <class Row>
  using RowsByText = std::unordered_map<std::string, Row, HashOfText, std::equal_to<>>;

  RowsByText<CachedCluster> clusters_;
  RowsByText<RegistryEntry> entries_;
  RowsByText<rows::Share> shares_;
  std::map<std::int64_t, rows::Lease> leases_;
  RowsByText<rows::PendingTermination> pending_terminations_;
  std::map<std::int64_t, rows::Participant> participants_;
};

}  // namespace dbcache::projections
