#include "store/postgres/postgres_tables.hpp"

#include <algorithm>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "store/postgres/postgres_rows.hpp"

namespace json = boost::json;

namespace dbcache::store::postgres {
namespace {

using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::RawRow;
using rows::Share;

template <class Row>
std::vector<RawRow> raw(Transaction& transaction) {
  const Result result = transaction.ask(Statements<Row>::select());
  std::vector<RawRow> rows;
  for (int row = 0; row < result.rows(); ++row) {
    RawRow& raw = rows.emplace_back();
    const Columns columns(result, row);
    for (int at = 0; at < result.columns(); ++at) {
      raw.columns[result.name(at)] = columns.raw(at);
    }
    const json::value& key = raw.columns.at(sql::Table<Row>::key);
    raw.key = key.is_string() ? std::string(key.get_string()) : json::serialize(key);
  }
  std::sort(rows.begin(), rows.end(),
            [](const RawRow& a, const RawRow& b) { return a.key < b.key; });
  return rows;
}

void add_key(Values& values, std::string_view key) { values.text(key); }
void add_key(Values& values, std::int64_t key) { values.integer(key); }

/// The lock that guards a row. An entry, its share and its leases go with their stream.
std::string lock_of(const CachedCluster& row) { return events::cluster_stream(row.cluster_id); }
std::string lock_of(const RegistryEntry& row) { return events::registry_stream(row.config_hash); }
std::string lock_of(const Share& row) { return events::registry_stream(row.config_hash); }
std::string lock_of(const Lease& row) { return events::registry_stream(row.config_hash); }
std::string lock_of(const PendingTermination& row) { return events::cluster_stream(row.subject); }
std::string lock_of(const Participant& row) { return events::run_stream(row.run); }

void add_flag(Values& values, const std::optional<bool>& flag) {
  if (flag) {
    values.integer(*flag ? 1 : 0);
  } else {
    values.null();
  }
}

}  // namespace

bool PostgresTables::lock(std::string_view name) const {
  return locks_ != nullptr && locks_->need(name);
}

bool PostgresTables::lock_stream(std::string_view stream) const {
  return locks_ != nullptr && locks_->need_stream(stream);
}

bool PostgresTables::locks_rows() const { return locks_ != nullptr && !locks_->have_everything(); }

void PostgresTables::lock_everything() const {
  if (locks_ != nullptr) locks_->need_everything();
}

/// The row of a key that this transaction knows, or else reads while it has the lock.
template <class Row>
std::optional<Row> PostgresTables::find(Known<std::string, Row>& known, std::string_view key,
                                        const std::string& lock) const {
  learn_foreseen();
  if (const auto found = known.find(key); found != known.end()) return found->second;
  lock_stream(lock);
  auto row = read_row<Row>(transaction_.ask(Statements<Row>::select_one(), Values().text(key)));
  known.insert_or_assign(std::string(key), row);
  return row;
}

/// The same of a row whose lock only the row tells: it is read again once the lock is held.
template <class Row>
std::optional<Row> PostgresTables::find_numbered(Known<std::int64_t, Row>& known,
                                                 std::int64_t id) const {
  learn_foreseen();
  if (const auto found = known.find(id); found != known.end()) return found->second;
  const auto read = [&] {
    return read_row<Row>(transaction_.ask(Statements<Row>::select_one(), Values().integer(id)));
  };
  auto row = read();
  if (row && lock_stream(lock_of(*row))) row = read();
  known.insert_or_assign(id, row);
  return row;
}

std::optional<CachedCluster> PostgresTables::cluster(std::string_view cluster_id) const {
  return find(clusters_, cluster_id, events::cluster_stream(cluster_id));
}

std::vector<CachedCluster> PostgresTables::clusters(const ClusterFilter& filter, Timestamp now,
                                                    std::optional<std::size_t> limit) const {
  lock_everything();
  const std::string time = format_timestamp(now);
  Values values;
  add_flag(values, filter.is_active);
  add_flag(values, filter.is_shared);
  add_flag(values, filter.is_expired);
  values.text(time);
  if (limit) {
    values.integer(static_cast<std::int64_t>(*limit));
  } else {
    values.null();
  }
  return read_rows<CachedCluster>(
      transaction_.ask(sql::select_clusters<PostgresDialect>(), values));
}

CacheStatistics PostgresTables::statistics(Timestamp now) const {
  lock_everything();
  const std::string time = format_timestamp(now);
  const Result row = transaction_.ask(
      "SELECT count(*), count(*) FILTER (WHERE is_active), "
      "count(*) FILTER (WHERE expiry_time <= $1::text), "
      "least(coalesce(sum(access_count), 0), 9223372036854775807)::bigint, "
      "count(*) FILTER (WHERE is_shared) FROM clusters",
      Values().text(time));
  CacheStatistics totals;
  totals.total_clusters = row.integer(0, 0);
  totals.active_clusters = row.integer(0, 1);
  totals.expired_clusters = row.integer(0, 2);
  totals.total_accesses = row.integer(0, 3);
  totals.shared_clusters = row.integer(0, 4);
  return totals;
}

std::optional<RegistryEntry> PostgresTables::entry(std::string_view config_hash) const {
  return find(entries_, config_hash, events::registry_stream(config_hash));
}

std::vector<RegistryEntry> PostgresTables::entries() const {
  lock_everything();
  return read_rows<RegistryEntry>(
      transaction_.ask(Statements<RegistryEntry>::select_newest_first()));
}

std::optional<Share> PostgresTables::share(std::string_view config_hash) const {
  return find(shares_, config_hash, events::registry_stream(config_hash));
}

std::optional<PendingTermination> PostgresTables::pending_termination(
    std::string_view subject) const {
  return find(pending_terminations_, subject, events::cluster_stream(subject));
}

std::optional<Lease> PostgresTables::lease(std::int64_t id) const {
  return find_numbered(leases_, id);
}

std::optional<Participant> PostgresTables::participant(std::int64_t id) const {
  return find_numbered(participants_, id);
}

std::vector<Share> PostgresTables::shares() const {
  lock_everything();
  return read_rows<Share>(transaction_.ask(Statements<Share>::select_in_key_order()));
}
std::vector<Lease> PostgresTables::leases() const {
  lock_everything();
  return read_rows<Lease>(transaction_.ask(Statements<Lease>::select_in_key_order()));
}
std::vector<PendingTermination> PostgresTables::pending_terminations() const {
  lock_everything();
  return read_rows<PendingTermination>(
      transaction_.ask(Statements<PendingTermination>::select_in_key_order()));
}
std::vector<Participant> PostgresTables::participants() const {
  lock_everything();
  return read_rows<Participant>(transaction_.ask(Statements<Participant>::select_in_key_order()));
}

std::vector<RawRow> PostgresTables::raw_rows(std::string_view table) const {
  lock_everything();
  if (table == rows::clusters_table) return raw<CachedCluster>(transaction_);
  if (table == rows::registry_table) return raw<RegistryEntry>(transaction_);
  if (table == Share::table) return raw<Share>(transaction_);
  if (table == Lease::table) return raw<Lease>(transaction_);
  if (table == PendingTermination::table) return raw<PendingTermination>(transaction_);
  if (table == Participant::table) return raw<Participant>(transaction_);
  throw Error(fmt::format("{} is not a projected table", table));
}

template <class Row>
void PostgresTables::put_row(const Row& row) {
  lock_stream(lock_of(row));
  const json::object columns = rows::stored_columns(row);
  Values values;
  for (const auto& column : columns) {
    const json::value& value = column.value();
    if (value.is_null()) {
      values.null();
    } else if (value.is_int64()) {
      values.integer(value.get_int64());
    } else {
      values.text(value.get_string());
    }
  }
  transaction_.change(Statements<Row>::upsert(), values);
  changed_ = true;
}

template <class Row, class Key>
void PostgresTables::erase_row(const Key& key) {
  Values values;
  add_key(values, key);
  transaction_.change(Statements<Row>::erase(), values);
  changed_ = true;
}

// A transaction that lets an entry, a lease or a pending termination name a cluster, or name it no
// more, holds the lock on that cluster. So two that let go of one cluster do not both see the other
// keep it.

void PostgresTables::put(const CachedCluster& row) {
  put_row(row);
  clusters_.insert_or_assign(row.cluster_id, row);
}

void PostgresTables::put(const RegistryEntry& row) {
  if (locks_rows()) {
    const auto before = entry(row.config_hash);
    if (!before || before->cluster_id != row.cluster_id) {
      if (before && before->cluster_id) lock(events::cluster_stream(*before->cluster_id));
      if (row.cluster_id) lock(events::cluster_stream(*row.cluster_id));
    }
  }
  put_row(row);
  entries_.insert_or_assign(row.config_hash, row);
}

void PostgresTables::put(const Share& row) {
  if (locks_rows()) {
    const auto before = share(row.config_hash);
    for (const std::string& run : row.runs) {
      const bool is_new =
          !before || std::find(before->runs.begin(), before->runs.end(), run) == before->runs.end();
      if (is_new) lock(events::run_stream(run));
    }
  }
  put_row(row);
  shares_.insert_or_assign(row.config_hash, row);
}

void PostgresTables::put(const Lease& row) {
  lock(events::cluster_stream(row.cluster_id));
  put_row(row);
  leases_.insert_or_assign(row.id, row);
  leases_of_.add(row, row.config_hash);
  leases_on_.add(row, row.cluster_id);
}

void PostgresTables::put(const PendingTermination& row) {
  put_row(row);
  pending_terminations_.insert_or_assign(row.subject, row);
}

void PostgresTables::put(const Participant& row) {
  put_row(row);
  participants_.insert_or_assign(row.id, row);
}

void PostgresTables::erase_cluster(std::string_view cluster_id) {
  lock_stream(events::cluster_stream(cluster_id));
  erase_row<CachedCluster>(cluster_id);
  clusters_.insert_or_assign(std::string(cluster_id), std::nullopt);
}

void PostgresTables::erase_entry(std::string_view config_hash) {
  const auto before = locks_rows() ? entry(config_hash) : std::nullopt;
  if (before && before->cluster_id) lock(events::cluster_stream(*before->cluster_id));
  erase_row<RegistryEntry>(config_hash);
  entries_.insert_or_assign(std::string(config_hash), std::nullopt);
}

void PostgresTables::erase_share(std::string_view config_hash) {
  lock_stream(events::registry_stream(config_hash));
  erase_row<Share>(config_hash);
  shares_.insert_or_assign(std::string(config_hash), std::nullopt);
}

void PostgresTables::erase_lease(std::int64_t id) {
  const auto before = locks_rows() ? lease(id) : std::nullopt;
  if (before) lock(events::cluster_stream(before->cluster_id));
  erase_row<Lease>(id);
  leases_.insert_or_assign(id, std::nullopt);
  leases_of_.remove(id);
  leases_on_.remove(id);
}

void PostgresTables::erase_pending_termination(std::string_view subject) {
  lock_stream(events::cluster_stream(subject));
  erase_row<PendingTermination>(subject);
  pending_terminations_.insert_or_assign(std::string(subject), std::nullopt);
}

void PostgresTables::erase_participant(std::int64_t id) {
  if (locks_rows()) static_cast<void>(participant(id));  // with its lock
  erase_row<Participant>(id);
  participants_.insert_or_assign(id, std::nullopt);
}

void PostgresTables::clear() {
  lock_everything();
  forget();
  transaction_.change(Statements<CachedCluster>::clear(), {});
  transaction_.change(Statements<RegistryEntry>::clear(), {});
  transaction_.change(Statements<Share>::clear(), {});
  transaction_.change(Statements<Lease>::clear(), {});
  transaction_.change(Statements<PendingTermination>::clear(), {});
  transaction_.change(Statements<Participant>::clear(), {});
  changed_ = true;
}

void PostgresTables::forget() {
  clusters_.clear();
  entries_.clear();
  shares_.clear();
  leases_.clear();
  pending_terminations_.clear();
  participants_.clear();
  leases_of_ = {};
  leases_on_ = {};
  naming_.reset();
}

}  // namespace dbcache::store::postgres
