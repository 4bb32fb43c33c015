#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rows/tables.hpp"
#include "store/postgres/result.hpp"
#include "store/postgres/session_liveness.hpp"
#include "store/postgres/stream_locks.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

/// The first leases of a configuration, or on a cluster, as a transaction has read and changed
/// them.
class FirstLeases {
 public:
  void learn(std::string_view of, std::vector<rows::Lease> rows, std::size_t asked_for);
  /// Nothing if it takes a query to tell.
  [[nodiscard]] std::optional<std::vector<rows::Lease>> find(std::string_view of,
                                                             rows::TableReader::Page page) const;
  void add(const rows::Lease& row, std::string_view of);
  void remove(std::int64_t id);

 private:
  std::optional<std::string> key_;
  std::vector<rows::Lease> rows_;
  bool is_complete_ = false;  ///< There are no others.
};

/// The projected tables in PostgreSQL, in one transaction. Writes are queued, and sent with the
/// next query or the commit. A row is read once: a command reads what it changes, and the
/// projection of the change reads it again. The row's lock keeps others from changing it.
class PostgresTables final : public rows::Tables {
 public:
  /// A writer gives `locks`, and takes one for whatever it touches.
  PostgresTables(Transaction& transaction, const SessionLiveness& liveness,
                 StreamLocks* locks = nullptr)
      : transaction_(transaction), liveness_(liveness), locks_(locks) {}

  void foresee(const Foresight& foresight) const override;

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
  std::optional<std::string> progress(std::string_view config_hash,
                                      std::int64_t creation) const override;
  void tell_progress(std::string_view config_hash, std::int64_t creation,
                     std::string_view doing) override;
  void clear() override;

  /// Whether anything was written.
  [[nodiscard]] bool changed() const { return changed_; }

 private:
  template <class Key, class Row>
  using Known = std::map<Key, std::optional<Row>, std::less<>>;

  /// The answers to what was foreseen.
  struct Foreseen {
    Foresight of;
    bool is_learnt = false;
    std::optional<Result> entry;
    std::optional<Result> share;
    std::optional<Result> lease;
    std::optional<Result> leases_of;
    std::optional<Result> cluster;
    std::optional<Result> pending;
    std::optional<Result> entries_naming;
    std::optional<Result> shares_naming;
    std::optional<Result> leases_on;
  };
  void ask_ahead(Foreseen& seen, const Foresight& foresight) const;
  void learn_foreseen() const;
  [[nodiscard]] std::vector<Naming> as_they_are_now(std::vector<Naming> before,
                                                    std::string_view cluster_id) const;

  /// These do nothing in a reader. True if the lock is new.
  bool lock(std::string_view name) const;
  bool lock_stream(std::string_view stream) const;
  void lock_everything() const;
  /// False too for a writer that has the lock over everything.
  [[nodiscard]] bool locks_rows() const;

  template <class Row>
  std::optional<Row> find(Known<std::string, Row>& known, std::string_view key,
                          const std::string& lock) const;
  template <class Row>
  std::optional<Row> find_numbered(Known<std::int64_t, Row>& known, std::int64_t id) const;
  template <class Row>
  void put_row(const Row& row);
  template <class Row, class Key>
  void erase_row(const Key& key);
  void forget();

  Transaction& transaction_;
  const SessionLiveness& liveness_;
  StreamLocks* locks_;
  bool changed_ = false;
  mutable std::unique_ptr<Foreseen> foreseen_;
  mutable std::unique_ptr<Foreseen> rehearsed_;  ///< Nobody reads it.
  // What this transaction has read or written.
  mutable Known<std::string, CachedCluster> clusters_;
  mutable Known<std::string, RegistryEntry> entries_;
  mutable Known<std::string, rows::Share> shares_;
  mutable Known<std::int64_t, rows::Lease> leases_;
  mutable Known<std::string, rows::PendingTermination> pending_terminations_;
  mutable Known<std::int64_t, rows::Participant> participants_;
  mutable FirstLeases leases_of_;  ///< Of the configuration that was foreseen.
  mutable FirstLeases leases_on_;  ///< On its cluster.
  mutable std::optional<std::pair<std::string, std::vector<Naming>>> naming_;  ///< That cluster.
};

}  // namespace dbcache::store::postgres
