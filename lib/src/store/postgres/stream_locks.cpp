#include "store/postgres/stream_locks.hpp"

#include <cstring>

#include "text/sha256.hpp"

namespace dbcache::store::postgres {
namespace {

constexpr std::string_view lock_one = "SELECT pg_advisory_xact_lock($1::bigint)";
constexpr std::string_view everything;  // no stream has that name

}  // namespace

void StreamLocks::begin() {
  const std::int64_t lock = number(space_, everything);
  transaction_.queue(scope_ == LockScope::everything
                         ? lock_one
                         : "SELECT pg_advisory_xact_lock_shared($1::bigint)",
                     Values().integer(lock));
}

void StreamLocks::lock_everything(Connection& connection, std::int64_t space) {
  connection.queue(lock_one, Values().integer(number(space, everything)));
}

void StreamLocks::need(std::string_view name) { lock(name); }

void StreamLocks::need_stream(std::string_view stream) {
  if (!lock(stream)) return;
  look_for_end(stream);
  if (!first_stream_.empty()) return;
  first_stream_ = stream;
  if (stream == forecast_.stream && forecast_.events > 0) draw(forecast_.events);
}

/// False if this transaction has it already.
bool StreamLocks::lock(std::string_view name) {
  if (scope_ == LockScope::everything) return false;
  const std::int64_t lock = number(space_, name);
  if (held_.contains(lock)) return false;
  if (held_.empty() || lock > *held_.rbegin()) {
    transaction_.queue(lock_one, Values().integer(lock));
  } else {
    const bool locked =
        transaction_.ask("SELECT pg_try_advisory_xact_lock($1::bigint)", Values().integer(lock))
            .is_true(0, 0);
    if (!locked) throw NeedsEverything{};
  }
  held_.insert(lock);
  return true;
}

void StreamLocks::look_for_end(std::string_view stream) {
  transaction_.expect(
      ends_[std::string(stream)].row,
      "SELECT version, hash FROM events WHERE stream = $1::text ORDER BY version DESC LIMIT 1",
      Values().text(stream));
}

/// Before it draws the first position, the transaction takes a lock whose number says above which
/// position that lies: `settled_position` stops there.
void StreamLocks::draw(std::int64_t count) {
  drawn_.reset();
  locks_when_drawn_ = held_.size();
  transaction_.expect(
      drawn_,
      "SELECT CASE WHEN pg_advisory_xact_lock_shared('events'::regclass::oid::integer, "
      "(CASE WHEN is_called THEN last_value ELSE 0 END)::bit(32)::integer) IS NOT NULL "
      "THEN nextval('event_positions') END FROM event_positions, generate_series(1, $1::bigint)",
      Values().integer(count));
}

AppendPoint StreamLocks::append_point(const std::vector<std::string>& streams,
                                      std::int64_t events) {
  for (const std::string& stream : streams) need_stream(stream);
  for (const std::string& stream : streams) {
    if (!ends_.contains(stream)) look_for_end(stream);
  }
  if (locks_when_drawn_ != held_.size()) draw(events);
  transaction_.run();

  AppendPoint point;
  for (const std::string& stream : streams) {
    const auto& [row, noted] = ends_.find(stream)->second;
    StreamEnd& end = point.ends.emplace_back();
    if (noted) {
      end = *noted;
    } else if (row->rows() > 0) {
      end = {row->integer(0, 0), row->bytes(0, 1)};
    }
  }
  // Other transactions draw at the same time: draw until the positions are consecutive.
  std::int64_t last = 0;
  for (std::int64_t found = 0; found < events;) {
    if (!drawn_) {
      draw(events - found);
      transaction_.run();
    }
    for (int row = 0; row < drawn_->rows() && found < events; ++row) {
      const std::int64_t position = drawn_->integer(row, 0);
      found = position == last + 1 ? found + 1 : 1;
      last = position;
    }
    drawn_.reset();
  }
  locks_when_drawn_.reset();
  point.position = last - events + 1;
  return point;
}

void StreamLocks::note_end(std::string_view stream, StreamEnd end) {
  const auto found = ends_.find(stream);
  if (found != ends_.end()) found->second.noted = std::move(end);
}

std::int64_t StreamLocks::number(std::int64_t space, std::string_view name) {
  std::string bytes(reinterpret_cast<const char*>(&space), sizeof space);
  bytes += name;
  const auto digest = text::sha256_of(bytes);
  std::int64_t number = 0;
  std::memcpy(&number, digest.data(), sizeof number);
  return number;
}

}  // namespace dbcache::store::postgres
