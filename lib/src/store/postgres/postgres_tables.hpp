#pragma once

#include "rows/tables.hpp"
#include "store/postgres/stream_locks.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

/// The projected tables in PostgreSQL, in one transaction. Writes are queued, and sent with the
/// next query or the commit.
class PostgresTables final : public rows::Tables {
 public:
  /// A writer gives `locks`, and takes one for whatever it touches.
  explicit PostgresTables(Transaction& transaction, StreamLocks* locks = nullptr)
      : transaction_(transaction), locks_(locks) {}

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
  std::vector<rows::RawRow> raw_rows(std::string_view table) const override;

  void put(const CachedCluster& row) override;
  void put(const RegistryEntry& row) override;
  void put(const rows::Share& row) override;
  void put(const rows::Lease& row) override;
  void put(const rows::PendingTermination& row) override;
  void put(const rows::Participant& row) override;
  void erase_cluster(std::string_view cluster_id) override;
  void erase_entry(std::string_view config_hash) override;
  void erase_share(std::string_view config_hash) override;
  void erase_lease(std::int64_t id) override;
  void erase_pending_termination(std::string_view subject) override;
  void erase_participant(std::int64_t id) override;
  void clear() override;

  /// Whether anything was written.
  [[nodiscard]] bool changed() const { return changed_; }

 private:
  /// These do nothing in a reader.
  void lock(std::string_view name) const;
  void lock_stream(std::string_view stream) const;
  void lock_everything() const;

  template <class Row>
  void put_row(const Row& row);
  template <class Row, class Key>
  void erase_row(const Key& key);

  Transaction& transaction_;
  StreamLocks* locks_;
  bool changed_ = false;
  /// The entry that was read last. A command reads the entry that it changes, and the projection of
  /// the change reads it again.
  struct Looked {
    std::string config_hash;
    std::optional<RegistryEntry> entry;
  };
  mutable std::optional<Looked> looked_;
};

}  // namespace dbcache::store::postgres
