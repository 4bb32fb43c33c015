#pragma once

#include "store/engine.hpp"
#include "store/sqlite/connection.hpp"

namespace dbcache::store::sqlite {

/// The table `events` in SQLite.
class SqliteEventLog final : public EventLog {
 public:
  explicit SqliteEventLog(Connection& connection) : connection_(connection) {}

  std::int64_t last_position() const override;
  StreamEnd end_of(std::string_view stream) const override;
  std::vector<EventRecord> read(std::int64_t after_position, std::size_t limit) const override;
  std::vector<EventRecord> read_stream(std::string_view stream, std::int64_t after_version,
                                       std::size_t limit) const override;
  std::vector<std::string> streams_naming(std::string_view cluster_id) const override;
  void append(const EventRecord& record) override;

 private:
  Connection& connection_;
};

}  // namespace dbcache::store::sqlite
