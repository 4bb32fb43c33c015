#pragma once

#include <optional>

#include "store/engine.hpp"
#include "store/postgres/stream_locks.hpp"

namespace dbcache::store::postgres {

/// The table `events` in PostgreSQL, in one transaction.
class PostgresEventLog final : public EventLog {
 public:
  /// To read. `settled`: the settled position from before the transaction's snapshot, if it was
  /// queried.
  PostgresEventLog(Transaction& transaction, std::optional<std::int64_t> settled)
      : transaction_(transaction), settled_(settled) {}
  /// To read and write.
  PostgresEventLog(Transaction& transaction, StreamLocks& locks)
      : transaction_(transaction), locks_(&locks) {}

  std::int64_t last_position() const override;
  std::int64_t size() const override;
  void read_into(std::vector<EventRecord>& events, std::int64_t after_position, std::size_t limit,
                 Extent extent) const override;
  std::vector<EventRecord> read_stream(std::string_view stream, std::int64_t after_version,
                                       std::size_t limit) const override;
  std::int64_t gaps_until() const override;
  std::optional<ClosedLog> closed() const override;
  std::vector<EventFact> facts_at(const std::vector<std::int64_t>& positions) const override;
  void foresee_event(std::int64_t position) const override;
  std::string incarnation() const override;
  std::vector<std::string> streams_naming(std::string_view cluster_id) const override;
  AppendPoint begin_append(const std::vector<std::string>& streams, std::size_t events) override;
  void append(const EventRecord& record) override;
  void close(const ClosedLog& closed) override;
  void open() override;
  void set_incarnation(std::string_view incarnation) override;
  void set_gaps_until(std::int64_t) override {}

  /// Whether anything was appended.
  [[nodiscard]] bool changed() const { return changed_; }
  /// How many events were appended at the positions from `begin_append`.
  [[nodiscard]] std::int64_t appended() const { return appended_; }
  /// The command that appended last; empty if none did.
  [[nodiscard]] const std::string& command_id() const { return command_id_; }

  /// Thrown by a read that needs the settled position: query it, then begin again.
  struct NeedsSettled {};

 private:
  Transaction& transaction_;
  StreamLocks* locks_ = nullptr;
  std::optional<std::int64_t> settled_;
  std::int64_t reserved_from_ = 0;
  std::int64_t reserved_to_ = -1;
  bool changed_ = false;
  std::optional<std::optional<ClosedLog>> closed_;  ///< If this transaction changed it.
  std::string command_id_;
  std::int64_t ordinal_ = 0;
  std::int64_t appended_ = 0;
  /// An event that was foreseen. It never changes, so that a run that is stopped leaves it valid.
  mutable std::optional<std::int64_t> foreseen_;
  mutable std::optional<Result> foreseen_event_;
};

}  // namespace dbcache::store::postgres
