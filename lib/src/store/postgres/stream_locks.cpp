#include "store/postgres/stream_locks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "events/event.hpp"
#include "text/sha256.hpp"

namespace dbcache::store::postgres {
namespace {

constexpr std::string_view lock_number = "SELECT pg_advisory_xact_lock($1::bigint)";
constexpr std::string_view everything;  // no stream has that name

/// Before it draws the first position, the transaction takes a lock whose number says above which
/// position that lies: `settled_position` stops there.
#define DRAW_POSITIONS                                                               \
  "SELECT CASE WHEN pg_advisory_xact_lock_shared('events'::regclass::oid::integer, " \
  "(CASE WHEN is_called THEN last_value ELSE 0 END)::bit(32)::integer) IS NOT NULL " \
  "THEN nextval('event_positions') END FROM event_positions, "

/// Parameters: a configuration, and how many a step on it needs as a rule. One that finds a
/// creation under way waits and appends nothing; one that finds no cluster appends one event.
constexpr std::string_view draw_as_needed = DRAW_POSITIONS
    "generate_series(1, CASE (SELECT status FROM shared_cluster_registry WHERE "
    "config_hash = $1::text) WHEN 'ready' THEN $2::bigint WHEN 'creating' THEN 0 "
    "ELSE least(1, $2::bigint) END)";

constexpr std::string_view select_end =
    "SELECT version, hash FROM events WHERE stream = $1::text ORDER BY version DESC LIMIT 1";
/// Parameter: the configuration whose entry names the cluster.
constexpr std::string_view select_end_of_cluster =
    "SELECT version, hash FROM events WHERE stream = (SELECT 'cluster-' || cluster_id FROM "
    "shared_cluster_registry WHERE config_hash = $1::text) ORDER BY version DESC LIMIT 1";

/// Their rank. What guards the active cluster is no stream.
constexpr std::array<std::string_view, 3> in_order{events::registry_stream_prefix, active_lock,
                                                   events::cluster_stream_prefix};

}  // namespace

LockName::LockName(std::string of)
    : rank(static_cast<int>(
          std::find_if(in_order.begin(), in_order.end(),
                       [&](std::string_view prefix) { return of.starts_with(prefix); }) -
          in_order.begin())),
      name(std::move(of)) {}

void StreamLocks::begin(const LockNames& first) {
  const std::int64_t lock = number(space_, everything);
  transaction_.queue(scope_ == LockScope::everything
                         ? lock_number
                         : "SELECT pg_advisory_xact_lock_shared($1::bigint)",
                     Values().integer(lock));
  for (const LockName& name : first) queue_lock(name);
  begun_with_ = first;
}

void StreamLocks::lock_everything(Connection& connection, std::int64_t space) {
  connection.queue(lock_number, Values().integer(number(space, everything)));
}

void StreamLocks::queue_lock(const LockName& name) {
  transaction_.queue("SELECT pg_advisory_xact_lock(hashtextextended($1::text, $2::bigint))",
                     Values().text(name.name).integer(space_));
  held_.insert(name);
}

bool StreamLocks::has(std::string_view name) const {
  return scope_ == LockScope::everything || held_.contains(LockName(std::string(name)));
}

bool StreamLocks::need(std::string_view name) {
  if (is_looking()) throw NeedsStep{LockName(first_stream_)};
  if (has(name)) return false;
  LockName lock{std::string(name)};
  if (held_.empty() || *held_.rbegin() < lock) {
    queue_lock(lock);
    return true;
  }
  const bool locked =
      transaction_
          .ask("SELECT pg_try_advisory_xact_lock(hashtextextended($1::text, $2::bigint))",
               Values().text(lock.name).integer(space_))
          .is_true(0, 0);
  held_.insert(std::move(lock));
  if (!locked) throw NeedsLocks{held_};
  return true;
}

bool StreamLocks::need_stream(std::string_view stream) {
  if (!need(stream)) return false;
  look_for_end(stream);
  if (!first_stream_.empty()) return true;
  first_stream_ = stream;
  if (stream == forecast_.stream && forecast_.events > 0) draw(forecast_.events);
  return true;
}

bool StreamLocks::can_step(std::string_view config_hash) const {
  if (scope_ == LockScope::everything) return false;
  if (held_.empty()) return true;
  // The lock that it looked without, and began anew with.
  const LockName registry(events::registry_stream(config_hash));
  return held_.size() == 1 && begun_with_.size() == 1 && held_.contains(registry) &&
         begun_with_.contains(registry);
}

void StreamLocks::need_step(std::string_view config_hash, std::int64_t events, bool may_wait) {
  LockName registry(events::registry_stream(config_hash));
  const bool has_registry = held_.contains(registry);
  const bool looks = may_wait && !has_registry;
  first_stream_ = registry.name;
  // Positions from before the cluster's lock are none for its stream.
  drawn_.reset();
  locks_when_drawn_.reset();
  if (looks) {
    transaction_.expect(
        step_lock_,
        "SELECT pg_advisory_xact_lock(hashtextextended($1::text, $2::bigint)) WHERE NOT EXISTS "
        "(SELECT 1 FROM shared_cluster_registry WHERE config_hash = $3::text AND status = "
        "'creating')",
        Values().text(registry.name).integer(space_).text(config_hash));
    held_.insert(std::move(registry));
  } else if (!has_registry) {
    queue_lock(registry);
  }
  transaction_.expect(
      cluster_lock_,
      "SELECT pg_advisory_xact_lock(hashtextextended('cluster-' || cluster_id, $2::bigint)) "
      "FROM shared_cluster_registry WHERE config_hash = $1::text AND cluster_id IS NOT NULL "
      "AND ($3::bigint = 0 OR status <> 'creating')",
      Values().text(config_hash).integer(space_).integer(looks ? 1 : 0));
  look_for_end(first_stream_);
  transaction_.expect(end_of_cluster_, select_end_of_cluster, Values().text(config_hash));
  if (events > 0) draw_for_step(config_hash, events);
}

void StreamLocks::rehearse_step() {
  transaction_.queue(select_end, Values().text(""));
  transaction_.queue(select_end_of_cluster, Values().text(""));
  transaction_.queue(draw_as_needed, Values().text("").integer(0));
}

bool StreamLocks::note_cluster(std::string_view cluster_id) {
  if (is_looking() || cluster_lock_->rows() == 0) return false;
  const std::string stream = events::cluster_stream(cluster_id);
  held_.insert(LockName(stream));
  ends_[stream].row = std::exchange(end_of_cluster_, {});
  // The positions were drawn after this lock was taken.
  if (locks_when_drawn_) locks_when_drawn_ = held_.size();
  return true;
}

void StreamLocks::look_for_end(std::string_view stream) {
  transaction_.expect(ends_[std::string(stream)].row, select_end, Values().text(stream));
}

void StreamLocks::draw(std::int64_t count) {
  drawn_.reset();
  locks_when_drawn_ = held_.size();
  transaction_.expect(drawn_, DRAW_POSITIONS "generate_series(1, $1::bigint)",
                      Values().integer(count));
}

void StreamLocks::draw_for_step(std::string_view config_hash, std::int64_t count) {
  locks_when_drawn_ = held_.size();
  transaction_.expect(drawn_, draw_as_needed, Values().text(config_hash).integer(count));
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

std::vector<std::string_view> StreamLocks::appended_registries() const {
  std::vector<std::string_view> registries;
  for (const auto& [stream, end] : ends_) {
    if (end.noted && stream.starts_with(events::registry_stream_prefix)) {
      registries.emplace_back(stream);
    }
  }
  return registries;
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
