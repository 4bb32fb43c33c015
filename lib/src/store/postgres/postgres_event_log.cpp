#include "store/postgres/postgres_event_log.hpp"

#include <algorithm>
#include <limits>

#include <boost/describe/enum_to_string.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#define SELECT_EVENTS                                                                         \
  "SELECT position, stream, version, type, payload, metadata, recorded_at, command_id, hash " \
  "FROM events "

namespace dbcache::store::postgres {
namespace {

constexpr std::string_view select_fact =
    "SELECT position, type, hash FROM events WHERE position = $1::bigint";
constexpr std::string_view select_facts =
    "SELECT position, type, hash FROM events WHERE position = ANY($1::text::bigint[]) "
    "ORDER BY position";

void read_records(const Result& rows, std::vector<EventRecord>& records) {
  records.resize(static_cast<std::size_t>(rows.rows()));
  for (int at = 0; at < rows.rows(); ++at) {
    EventRecord& record = records[static_cast<std::size_t>(at)];
    record.position = rows.integer(at, 0);
    record.stream = rows.text(at, 1);
    record.version = rows.integer(at, 2);
    record.type = rows.text(at, 3);
    record.payload = rows.text(at, 4);
    record.metadata = rows.text(at, 5);
    record.recorded_at = rows.integer(at, 6);
    record.command_id = rows.bytes(at, 7);
    record.hash = rows.bytes(at, 8);
  }
}

/// The cluster that an event of a registry stream names (docs/log-format.md).
std::optional<std::string> named_cluster(const EventRecord& record) {
  constexpr std::array<std::string_view, 3> naming{"RegistryStatusChanged", "EntryImported",
                                                   "LeaseGranted"};
  if (std::find(naming.begin(), naming.end(), record.type) == naming.end()) return std::nullopt;
  boost::json::error_code error;
  const boost::json::value payload = boost::json::parse(record.payload, error);
  if (error || !payload.is_object()) return std::nullopt;
  const auto* const name = payload.get_object().if_contains("cluster_id");
  if (name == nullptr || !name->is_string()) return std::nullopt;
  return std::string(name->get_string());
}

}  // namespace

std::int64_t PostgresEventLog::last_position() const {
  if (locks_ == nullptr && !settled_) throw NeedsSettled{};
  return transaction_
      .ask("SELECT coalesce(max(position), 0) FROM events WHERE position <= $1::bigint",
           Values().integer(settled_.value_or(std::numeric_limits<std::int64_t>::max())))
      .integer(0, 0);
}

std::int64_t PostgresEventLog::size() const {
  return transaction_.ask("SELECT count(*) FROM events").integer(0, 0);
}

void PostgresEventLog::read_into(std::vector<EventRecord>& events, std::int64_t after_position,
                                 std::size_t limit, Extent extent) const {
  std::int64_t last = std::numeric_limits<std::int64_t>::max();
  // A writer that reads the log in order keeps all other writers out.
  if (locks_ != nullptr) {
    locks_->need_everything();
  } else if (extent == Extent::settled) {
    if (!settled_) throw NeedsSettled{};
    last = *settled_;
  }
  read_records(
      transaction_.ask(
          SELECT_EVENTS "WHERE position > $1::bigint AND position <= $2::bigint "
                        "ORDER BY position LIMIT $3::bigint",
          Values().integer(after_position).integer(last).integer(static_cast<std::int64_t>(limit))),
      events);
}

std::vector<EventRecord> PostgresEventLog::read_stream(std::string_view stream,
                                                       std::int64_t after_version,
                                                       std::size_t limit) const {
  std::vector<EventRecord> events;
  read_records(
      transaction_.ask(
          SELECT_EVENTS "WHERE stream = $1::text AND version > $2::bigint "
                        "ORDER BY version LIMIT $3::bigint",
          Values().text(stream).integer(after_version).integer(static_cast<std::int64_t>(limit))),
      events);
  return events;
}

std::int64_t PostgresEventLog::gaps_until() const {
  return std::numeric_limits<std::int64_t>::max();
}

std::optional<ClosedLog> PostgresEventLog::closed() const {
  return closed_ ? *closed_ : transaction_.closed();
}

std::vector<EventFact> PostgresEventLog::facts_at(
    const std::vector<std::int64_t>& positions) const {
  std::vector<EventFact> facts;
  const auto add = [&](const Result& rows) {
    for (int at = 0; at < rows.rows(); ++at) {
      facts.push_back(
          {rows.integer(at, 0), std::string(rows.text(at, 1)), std::string(rows.bytes(at, 2))});
    }
  };
  if (positions.size() == 1) {
    if (positions.front() == foreseen_) {
      if (!foreseen_event_) transaction_.run();
      add(*foreseen_event_);
    } else {
      add(transaction_.ask(select_fact, Values().integer(positions.front())));
    }
  } else if (!positions.empty()) {
    add(transaction_.ask(select_facts,
                         Values().text(fmt::format("{{{}}}", fmt::join(positions, ",")))));
  }
  return facts;
}

void PostgresEventLog::foresee_event(std::int64_t position) const {
  if (foreseen_ == position) return;
  foreseen_ = position;
  transaction_.expect(foreseen_event_, select_fact, Values().integer(position));
}

std::string PostgresEventLog::incarnation() const { return transaction_.incarnation(); }

std::vector<std::string> PostgresEventLog::streams_naming(std::string_view cluster_id) const {
  const Result rows =
      transaction_.ask("SELECT DISTINCT stream FROM events WHERE names = $1::text ORDER BY stream",
                       Values().text(cluster_id));
  std::vector<std::string> streams;
  streams.reserve(static_cast<std::size_t>(rows.rows()));
  for (int at = 0; at < rows.rows(); ++at) streams.emplace_back(rows.text(at, 0));
  return streams;
}

AppendPoint PostgresEventLog::begin_append(const std::vector<std::string>& streams,
                                           std::size_t events) {
  const auto count = static_cast<std::int64_t>(events);
  AppendPoint point = locks_->append_point(streams, count);
  reserved_from_ = point.position;
  reserved_to_ = point.position + count - 1;
  return point;
}

void PostgresEventLog::append(const EventRecord& record) {
  if (const auto why = closed()) {
    throw DatabaseMoved(refusal(*why, transaction_.database()));
  }
  changed_ = true;
  const auto names = named_cluster(record);
  Values values;
  values.integer(record.position)
      .text(record.stream)
      .integer(record.version)
      .text(record.type)
      .text(record.payload)
      .text(record.metadata)
      .integer(record.recorded_at)
      .bytes(record.command_id)
      .bytes(record.hash);
  if (names) {
    values.text(*names);
  } else {
    values.null();
  }
  if (record.position >= reserved_from_ && record.position <= reserved_to_) {
    ordinal_ = record.command_id == command_id_ ? ordinal_ + 1 : 0;
    command_id_ = record.command_id;
    ++appended_;
    locks_->note_end(record.stream, {record.version, record.hash});
    transaction_.change(
        "INSERT INTO events (position, stream, version, type, payload, metadata, recorded_at, "
        "command_id, hash, names, ordinal) VALUES ($1::bigint, $2::text, $3::bigint, $4::text, "
        "$5::text, $6::text, $7::bigint, $8::bytea, $9::bytea, $10::text, $11::bigint)",
        values.integer(ordinal_));
    return;
  }
  // An event from another log keeps its position.
  locks_->need_everything();
  locks_->note_end(record.stream, {record.version, record.hash});
  transaction_.change(
      "INSERT INTO events (position, stream, version, type, payload, metadata, recorded_at, "
      "command_id, hash, names, ordinal) VALUES ($1::bigint, $2::text, $3::bigint, $4::text, "
      "$5::text, $6::text, $7::bigint, $8::bytea, $9::bytea, $10::text, "
      "(SELECT count(*) FROM events WHERE command_id = $8::bytea))",
      values);
  transaction_.change(
      "SELECT setval('event_positions', greatest(last_value, $1::bigint)) FROM event_positions",
      Values().integer(record.position));
}

// Each transaction that appends reads this under its share of the lock over everything, which this
// one holds alone.
void PostgresEventLog::close(const ClosedLog& closed) {
  locks_->need_everything();
  transaction_.change(
      "UPDATE schema_version SET closed = $1::text, other = $2::text",
      Values().text(boost::describe::enum_to_string(closed.moving, "")).text(closed.other));
  closed_.emplace(closed);
  changed_ = true;
}

void PostgresEventLog::set_incarnation(std::string_view incarnation) {
  locks_->need_everything();
  transaction_.change("UPDATE schema_version SET incarnation = $1::text",
                      Values().text(incarnation));
  changed_ = true;
}

void PostgresEventLog::open() {
  locks_->need_everything();
  transaction_.change("UPDATE schema_version SET closed = NULL, other = NULL", Values());
  closed_.emplace();
  changed_ = true;
}

}  // namespace dbcache::store::postgres
