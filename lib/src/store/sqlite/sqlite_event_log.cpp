#include "store/sqlite/sqlite_event_log.hpp"

#include <limits>
#include <set>

#include <boost/algorithm/string/replace.hpp>
#include <boost/describe/enum_from_string.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::sqlite {
namespace {

void read_record(const Statement& statement, EventRecord& record) {
  record.position = statement.integer(0);
  record.stream = statement.bytes(1);
  record.version = statement.integer(2);
  record.type = statement.bytes(3);
  record.payload = statement.bytes(4);
  record.metadata = statement.bytes(5);
  record.recorded_at = statement.integer(6);
  record.command_id = statement.bytes(7);
  record.hash = statement.bytes(8);
}

void read_records(Statement& statement, std::vector<EventRecord>& records) {
  std::size_t count = 0;
  while (statement.step()) {
    if (count == records.size()) records.emplace_back();
    read_record(statement, records[count]);
    ++count;
  }
  records.resize(count);
}

}  // namespace

std::int64_t SqliteEventLog::last_position() const {
  return connection_.integer("SELECT coalesce(max(position), 0) FROM events");
}

std::int64_t SqliteEventLog::size() const {
  // Counting goes over the whole log.
  return gaps_until() == 0 ? last_position() : connection_.integer("SELECT count(*) FROM events");
}

StreamEnd SqliteEventLog::end_of(std::string_view stream) const {
  auto query = connection_.prepare(
      "SELECT version, hash FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1");
  query->lend(1, stream);
  if (!query->step()) return {};
  return {query->integer(0), std::string(query->bytes(1))};
}

// One transaction writes at a time: what is visible is settled.
void SqliteEventLog::read_into(std::vector<EventRecord>& events, std::int64_t after_position,
                               std::size_t limit, Extent) const {
  auto query = connection_.prepare(
      "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, hash "
      "FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
  query->bind(1, after_position);
  query->bind(2, static_cast<std::int64_t>(limit));
  read_records(*query, events);
}

std::vector<EventRecord> SqliteEventLog::read_stream(std::string_view stream,
                                                     std::int64_t after_version,
                                                     std::size_t limit) const {
  auto query = connection_.prepare(
      "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, hash "
      "FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3");
  query->lend(1, stream);
  query->bind(2, after_version);
  query->bind(3, static_cast<std::int64_t>(limit));
  std::vector<EventRecord> events;
  read_records(*query, events);
  return events;
}

std::int64_t SqliteEventLog::gaps_until() const {
  return connection_.integer("SELECT gaps_until FROM log_state");
}

std::optional<ClosedLog> SqliteEventLog::closed() const {
  auto query = connection_.prepare("SELECT closed, other FROM log_state WHERE closed IS NOT NULL");
  if (!query->step()) return std::nullopt;
  ClosedLog closed;
  const std::string word(query->bytes(0));
  if (!boost::describe::enum_from_string(word.c_str(), closed.moving)) {
    throw CorruptDatabase(fmt::format(
        "the database {} holds rows that dbcache did not write (log_state: closed is '{}'); "
        "restore it from a copy",
        connection_.database().getFilename(), word));
  }
  closed.other = query->bytes(1);
  return closed;
}

std::vector<EventFact> SqliteEventLog::facts_at(const std::vector<std::int64_t>& positions) const {
  auto query = connection_.prepare("SELECT type, hash FROM events WHERE position = ?1");
  std::vector<EventFact> facts;
  for (const std::int64_t position : std::set<std::int64_t>(positions.begin(), positions.end())) {
    query->bind(1, position);
    if (query->step()) {
      facts.push_back({position, std::string(query->bytes(0)), std::string(query->bytes(1))});
    }
    query->reset();
  }
  return facts;
}

std::string SqliteEventLog::incarnation() const {
  auto query = connection_.prepare("SELECT incarnation FROM log_state");
  return query->step() ? std::string(query->bytes(0)) : std::string();
}

std::vector<std::string> SqliteEventLog::streams_naming(std::string_view cluster_id) const {
  // Expression and condition are the index's (migrations/sqlite/0003_leases.sql), word for word.
  auto query = connection_.prepare(
      "SELECT DISTINCT stream FROM events "
      "WHERE json_extract(payload, '$.cluster_id') = ?1 "
      "AND type IN ('RegistryStatusChanged', 'EntryImported', 'LeaseGranted')");
  query->lend(1, cluster_id);
  std::vector<std::string> streams;
  while (query->step()) streams.emplace_back(query->bytes(0));
  return streams;
}

AppendPoint SqliteEventLog::begin_append(const std::vector<std::string>& streams, std::size_t) {
  AppendPoint point;
  point.position = last_position();
  // There is no number after the largest one: SQLite then refuses the event.
  if (point.position < std::numeric_limits<std::int64_t>::max()) ++point.position;
  for (const std::string& stream : streams) point.ends.push_back(end_of(stream));
  return point;
}

void SqliteEventLog::append(const EventRecord& record) {
  auto query = connection_.prepare(
      "INSERT INTO events (position, stream, version, type, payload, metadata, recorded_at, "
      "command_id, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  query->bind(1, record.position);
  query->lend(2, record.stream);
  query->bind(3, record.version);
  query->lend(4, record.type);
  query->lend(5, record.payload);
  query->lend(6, record.metadata);
  query->bind(7, record.recorded_at);
  query->lend_blob(8, record.command_id);
  query->lend_blob(9, record.hash);
  try {
    query->step();
  } catch (const SQLite::Exception& error) {
    if ((error.getErrorCode() & 0xFF) != SQLITE_CONSTRAINT) throw;
    const auto closed = this->closed();
    if (!closed) throw;
    throw DatabaseMoved(refusal(*closed, connection_.database().getFilename()));
  }
}

// A trigger, so that it costs nothing as long as the log is open, and stops other programs too.
void SqliteEventLog::close(const ClosedLog& closed) {
  open();
  auto query = connection_.prepare("UPDATE log_state SET closed = ?1, other = ?2");
  query->bind(1, std::string_view(boost::describe::enum_to_string(closed.moving, "")));
  query->bind(2, std::string_view(closed.other));
  query->step();
  const std::string reason = refusal(closed, connection_.database().getFilename());
  connection_.execute(fmt::format("CREATE TRIGGER events_closed BEFORE INSERT ON events "
                                  "BEGIN SELECT RAISE(ABORT, '{}'); END",
                                  boost::algorithm::replace_all_copy(reason, "'", "''"))
                          .c_str());
}

void SqliteEventLog::open() {
  connection_.execute("DROP TRIGGER IF EXISTS events_closed");
  connection_.run("UPDATE log_state SET closed = NULL, other = NULL");
}

void SqliteEventLog::set_incarnation(std::string_view incarnation) {
  auto query = connection_.prepare("UPDATE log_state SET incarnation = ?1");
  query->bind(1, incarnation);
  query->step();
}

void SqliteEventLog::set_gaps_until(std::int64_t position) {
  auto query = connection_.prepare("UPDATE log_state SET gaps_until = ?1");
  query->bind(1, position);
  query->step();
}

}  // namespace dbcache::store::sqlite
