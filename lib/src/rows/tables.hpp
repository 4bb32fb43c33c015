#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "rows/rows.hpp"

namespace dbcache::rows {

/// Reads the projected tables. Throws CorruptDatabase if a row holds an invalid value.
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

  /// All statistics except the size of the file.
  [[nodiscard]] virtual CacheStatistics statistics(Timestamp now) const = 0;

  [[nodiscard]] virtual std::optional<RegistryEntry> entry(std::string_view config_hash) const = 0;

  /// Newest first.
  [[nodiscard]] virtual std::vector<RegistryEntry> entries() const = 0;

  [[nodiscard]] virtual std::optional<Share> share(std::string_view config_hash) const = 0;
  [[nodiscard]] virtual std::optional<Lease> lease(std::int64_t id) const = 0;
  [[nodiscard]] virtual std::optional<PendingTermination> pending_termination(
      std::string_view subject) const = 0;

  /// In order of their keys.
  [[nodiscard]] virtual std::vector<Share> shares() const = 0;
  [[nodiscard]] virtual std::vector<Lease> leases() const = 0;
  [[nodiscard]] virtual std::vector<PendingTermination> pending_terminations() const = 0;
  [[nodiscard]] virtual std::vector<Participant> participants() const = 0;

  /// What a step on a configuration will read and append: an engine may ask for it all at once.
  struct Foresight {
    std::string config_hash;
    std::optional<std::int64_t> ends;  ///< A lease that the step ends.
    std::size_t events = 0;            ///< 0: it is not known.
    bool may_wait = false;             ///< While the cluster is created, most often the step waits.
  };
  virtual void foresee(const Foresight&) const {}

  // ---- By index: what a step on one configuration asks, whatever else is in the tables

  static constexpr std::int64_t from_the_first = std::numeric_limits<std::int64_t>::min();
  /// Which leases: those behind one, in order of id, at most so many.
  struct Page {
    std::int64_t after = from_the_first;
    std::size_t limit = 1;
  };
  [[nodiscard]] virtual std::vector<Lease> leases_of(std::string_view config_hash,
                                                     Page page) const = 0;
  [[nodiscard]] virtual std::vector<Lease> leases_on(std::string_view cluster_id,
                                                     Page page) const = 0;
  [[nodiscard]] virtual std::int64_t count_leases_of(std::string_view config_hash) const = 0;

  /// An entry that names a cluster, and what leases know of it.
  struct Naming {
    RegistryEntry entry;
    std::optional<Share> share;
  };
  /// In order of config_hash.
  [[nodiscard]] virtual std::vector<Naming> naming(std::string_view cluster_id) const = 0;

  /// The active rows, newest first: usually one.
  [[nodiscard]] virtual std::vector<CachedCluster> active_clusters() const = 0;
  /// The newest of them that has not expired.
  [[nodiscard]] virtual std::optional<CachedCluster> active_cluster(Timestamp now) const = 0;

  [[nodiscard]] virtual std::vector<PendingTermination> pending_terminations_of(
      std::string_view config_hash) const = 0;
  /// Those of one host, or of every host, that nobody carries out: oldest first, behind so many.
  /// With a time `due_by`, only those that steps on leases may try then.
  [[nodiscard]] virtual std::vector<PendingTermination> waiting_terminations(
      bool every_host, const std::optional<std::string>& host, std::optional<Timestamp> due_by,
      std::size_t behind, std::size_t limit) const = 0;

  [[nodiscard]] virtual std::optional<Participant> participant(std::int64_t id) const = 0;
  [[nodiscard]] virtual std::vector<Participant> participants_of(std::string_view run,
                                                                 Page page) const = 0;
  /// The configurations whose cluster that run used.
  [[nodiscard]] virtual std::vector<std::string> configurations_of(std::string_view run) const = 0;

  // ---- What a sweep asks, page by page

  // These leave rows out that cannot be read: a step on their configuration, and a replay, say what
  // is wrong with them. An engine may also leave out leases and participants whose holder it knows
  // to live.
  [[nodiscard]] virtual std::vector<Lease> leases_after(Page page) const = 0;
  [[nodiscard]] virtual std::vector<Participant> participants_after(Page page) const = 0;
  /// With a creation or a check under way, in order of config_hash.
  [[nodiscard]] virtual std::vector<Share> busy_shares_after(std::string_view config_hash,
                                                             std::size_t limit) const = 0;
  [[nodiscard]] virtual std::vector<PendingTermination> running_terminations() const = 0;
  /// The configurations of entries that `acquire` made, whose cluster has expired and has no lease.
  [[nodiscard]] virtual std::vector<std::string> expired_configurations(
      Timestamp now, std::string_view after, std::size_t limit) const = 0;

  /// What the cluster of a creation under way is doing, as its creator told last. Not projected.
  [[nodiscard]] virtual std::optional<std::string> progress(std::string_view /*config_hash*/,
                                                            std::int64_t /*creation*/) const {
    return std::nullopt;
  }

  /// Every row of a projected table exactly as stored, even if invalid, in order of its key.
  [[nodiscard]] virtual std::vector<RawRow> raw_rows(std::string_view table) const = 0;
};

/// The narrow interface through which `project` writes the tables; nothing else writes them.
class Tables : public TableReader {
 public:
  /// Inserts a row, or replaces the row with the same key.
  virtual void put(const CachedCluster& row) = 0;
  virtual void put(const RegistryEntry& row) = 0;

  /// Removes a row, if it exists.
  virtual void erase_cluster(std::string_view cluster_id) = 0;
  virtual void erase_entry(std::string_view config_hash) = 0;

  virtual void put(const Share& row) = 0;
  virtual void put(const Lease& row) = 0;
  virtual void put(const PendingTermination& row) = 0;
  virtual void put(const Participant& row) = 0;
  virtual void erase_share(std::string_view config_hash) = 0;
  virtual void erase_lease(std::int64_t id) = 0;
  virtual void erase_pending_termination(std::string_view subject) = 0;
  virtual void erase_participant(std::int64_t id) = 0;

  /// Changes any columns of a row except its key, if the row exists. An engine may skip columns
  /// that stay the same.
  template <class Row>
  using Change = std::function<void(Row&)>;
  virtual void change_cluster(std::string_view cluster_id, const Change<CachedCluster>& change) {
    change_and_put(cluster(cluster_id), change);
  }
  virtual void change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) {
    change_and_put(entry(config_hash), change);
  }
  virtual void change_share(std::string_view config_hash, const Change<Share>& change) {
    change_and_put(share(config_hash), change);
  }
  virtual void change_pending_termination(std::string_view subject,
                                          const Change<PendingTermination>& change) {
    change_and_put(pending_termination(subject), change);
  }

  /// Replaces what a creation under way told, and removes what ended creations told. Does nothing
  /// more for one that has ended.
  virtual void tell_progress(std::string_view /*config_hash*/, std::int64_t /*creation*/,
                             std::string_view /*doing*/) {}

  /// Empties every table.
  virtual void clear() = 0;

 private:
  template <class Row>
  void change_and_put(std::optional<Row> row, const Change<Row>& change) {
    if (!row) return;
    change(*row);
    put(*row);
  }
};

}  // namespace dbcache::rows
