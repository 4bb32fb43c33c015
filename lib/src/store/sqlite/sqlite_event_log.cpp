#include "store/sqlite/sqlite_event_log.hpp"

namespace dbcache::store::sqlite {
namespace {

std::vector<EventRecord> read_records(SQLite::Statement& statement) {
  std::vector<EventRecord> records;
  while (statement.executeStep()) {
    records.push_back({statement.getColumn(0).getInt64(), statement.getColumn(1).getString(),
                       statement.getColumn(2).getInt64(), statement.getColumn(3).getString(),
                       statement.getColumn(4).getString(), statement.getColumn(5).getString(),
                       statement.getColumn(6).getInt64(), statement.getColumn(7).getString(),
                       statement.getColumn(8).getString()});
  }
  return records;
}

}  // namespace

std::int64_t SqliteEventLog::last_position() const {
  return connection_.integer("SELECT coalesce(max(position), 0) FROM events");
}

StreamEnd SqliteEventLog::end_of(std::string_view stream) const {
  auto query = connection_.prepare(
      "SELECT version, hash FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1");
  query->bind(1, std::string(stream));
  if (!query->executeStep()) return {};
  return {query->getColumn(0).getInt64(), query->getColumn(1).getString()};
}

std::vector<EventRecord> SqliteEventLog::read(std::int64_t after_position,
                                              std::size_t limit) const {
  auto query = connection_.prepare(
      "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, hash "
      "FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
  query->bind(1, after_position);
  query->bind(2, static_cast<std::int64_t>(limit));
  return read_records(*query);
}

std::vector<EventRecord> SqliteEventLog::read_stream(std::string_view stream,
                                                     std::int64_t after_version,
                                                     std::size_t limit) const {
  auto query = connection_.prepare(
      "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, hash "
      "FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3");
  query->bind(1, std::string(stream));
  query->bind(2, after_version);
  query->bind(3, static_cast<std::int64_t>(limit));
  return read_records(*query);
}

std::vector<std::string> SqliteEventLog::streams_naming(std::string_view cluster_id) const {
  // Expression and condition are the index's (migrations/sqlite/0002_events.sql), word for word.
  auto query = connection_.prepare(
      "SELECT DISTINCT stream FROM events "
      "WHERE json_extract(payload, '$.cluster_id') = ?1 "
      "AND type IN ('RegistryStatusChanged', 'EntryImported')");
  query->bind(1, std::string(cluster_id));
  std::vector<std::string> streams;
  while (query->executeStep()) streams.push_back(query->getColumn(0).getString());
  return streams;
}

void SqliteEventLog::append(const EventRecord& record) {
  auto query = connection_.prepare(
      "INSERT INTO events (position, stream, version, type, payload, metadata, recorded_at, "
      "command_id, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  query->bind(1, record.position);
  query->bind(2, record.stream);
  query->bind(3, record.version);
  query->bind(4, record.type);
  query->bind(5, record.payload);
  query->bind(6, record.metadata);
  query->bind(7, record.recorded_at);
  query->bind(8, record.command_id.data(), static_cast<int>(record.command_id.size()));
  query->bind(9, record.hash.data(), static_cast<int>(record.hash.size()));
  query->exec();
}

}  // namespace dbcache::store::sqlite
