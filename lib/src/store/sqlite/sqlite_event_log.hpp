#pragma once

#include "store/engine.hpp"
#include "store/sqlite/connection.hpp"

namespace dbcache::store::sqlite {

/// The table `events` in SQLite.
class SqliteEventLog final : public EventLog {
 public:
  explicit SqliteEventLog(Connection& connection) : connection_(connection) {}

  std::int64_t last_position() const override;
  std::int64_t size() const override;
  void read_into(std::vector<EventRecord>& events, std::int64_t after_position, std::size_t limit,
                 Extent extent) const override;
  std::vector<EventRecord> read_stream(std::string_view stream, std::int64_t after_version,
                                       std::size_t limit) const override;
  std::int64_t gaps_until() const override;
  std::optional<ClosedLog> closed() const override;
  std::vector<EventFact> facts_at(const std::vector<std::int64_t>& positions) const override;
  std::string incarnation() const override;
  std::vector<std::string> streams_naming(std::string_view cluster_id) const override;
  AppendPoint begin_append(const std::vector<std::string>& streams, std::size_t events) override;
  void append(const EventRecord& record) override;
  void close(const ClosedLog& closed) override;
  void open() override;
  void set_incarnation(std::string_view incarnation) override;
  void set_gaps_until(std::int64_t position) override;

 private:
  [[nodiscard]] StreamEnd end_of(std::string_view stream) const;

  Connection& connection_;
};

}  // namespace dbcache::store::sqlite
