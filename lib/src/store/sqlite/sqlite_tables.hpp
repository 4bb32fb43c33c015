#pragma once

#include "rows/documented_rows.hpp"
#include "rows/tables.hpp"
#include "store/sqlite/connection.hpp"

namespace dbcache::store::sqlite {

/// The projected tables in SQLite, within one transaction.
class SqliteTables final : public rows::Tables {
 public:
  explicit SqliteTables(Connection& connection) : connection_(connection) {}

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
  void change_cluster(std::string_view cluster_id, const Change<CachedCluster>& change) override;
  void change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) override;
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
  std::optional<std::string> progress(std::string_view config_hash,
                                      std::int64_t creation) const override;
  void tell_progress(std::string_view config_hash, std::int64_t creation,
                     std::string_view doing) override;
  void clear() override;

  /// The rows as the Python system left them, including columns that are not documented.
  [[nodiscard]] rows::DocumentedRows documented_rows() const;

 private:
  void note_cluster(const RegistryEntry& row);
  void forget_cluster(std::string_view config_hash);

  Connection& connection_;
  mutable std::optional<RegistryEntry> entry_;  ///< The one that was read last.
};

}  // namespace dbcache::store::sqlite
