#include "store/postgres/postgres_tables.hpp"

#include <algorithm>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "rows/fields.hpp"
#include "store/sql/row_reader.hpp"
#include "store/sql/statements.hpp"

namespace json = boost::json;

namespace dbcache::store::postgres {
namespace {

using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::RawRow;
using rows::Share;

/// A row of a result, as RowReader reads it.
class Columns {
 public:
  Columns(const Result& result, int row) : result_(result), row_(row) {}

  [[nodiscard]] bool is_null(int at) const { return result_.is_null(row_, at); }
  [[nodiscard]] std::optional<std::int64_t> integer(int at) const {
    if (is_null(at)) return std::nullopt;
    if (result_.is_boolean(at)) return result_.is_true(row_, at) ? 1 : 0;
    return result_.integer(row_, at);
  }
  [[nodiscard]] std::optional<std::string_view> text(int at) const {
    if (is_null(at)) return std::nullopt;
    return result_.text(row_, at);
  }
  [[nodiscard]] json::value raw(int at) const {
    if (is_null(at)) return nullptr;
    if (result_.is_boolean(at) || result_.is_integer(at)) return integer(at).value();
    return json::string(result_.text(row_, at));
  }

 private:
  const Result& result_;
  int row_;
};

struct PostgresDialect {
  static std::string parameter(int number, std::string_view type = {}) {
    return fmt::format("${}{}{}", number, type.empty() ? "" : "::", type);
  }
  static std::string is_true(std::string_view column) { return std::string(column); }
};
template <class Row>
using Statements = sql::Statements<PostgresDialect, Row>;

template <class Row>
std::vector<Row> read_rows(const Result& result) {
  std::vector<Row> rows;
  for (int at = 0; at < result.rows(); ++at) {
    const Columns columns(result, at);
    rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
  }
  return rows;
}

template <class Row>
std::optional<Row> read_row(const Result& result) {
  auto rows = read_rows<Row>(result);
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

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

std::string numbered(std::string_view kind, std::int64_t id) {
  return fmt::format("{}-{}", kind, id);
}
std::string pending_termination_lock(std::string_view subject) {
  return fmt::format("debt-{}", subject);
}

/// The lock that guards a row. An entry and its share go with their stream.
std::string lock_of(const CachedCluster& row) { return events::cluster_stream(row.cluster_id); }
std::string lock_of(const RegistryEntry& row) { return events::registry_stream(row.config_hash); }
std::string lock_of(const Share& row) { return events::registry_stream(row.config_hash); }
std::string lock_of(const Lease& row) { return numbered("lease", row.id); }
std::string lock_of(const PendingTermination& row) { return pending_termination_lock(row.subject); }
std::string lock_of(const Participant& row) { return numbered("participant", row.id); }

void add_flag(Values& values, const std::optional<bool>& flag) {
  if (flag) {
    values.integer(*flag ? 1 : 0);
  } else {
    values.null();
  }
}

}  // namespace

void PostgresTables::lock(std::string_view name) const {
  if (locks_ != nullptr) locks_->need(name);
}

void PostgresTables::lock_stream(std::string_view stream) const {
  if (locks_ != nullptr) locks_->need_stream(stream);
}

void PostgresTables::lock_everything() const {
  if (locks_ != nullptr) locks_->need_everything();
}

std::optional<CachedCluster> PostgresTables::cluster(std::string_view cluster_id) const {
  lock_stream(events::cluster_stream(cluster_id));
  return read_row<CachedCluster>(
      transaction_.ask(Statements<CachedCluster>::select_one(), Values().text(cluster_id)));
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
  if (looked_ && looked_->config_hash == config_hash) return looked_->entry;
  lock_stream(events::registry_stream(config_hash));
  auto found = read_row<RegistryEntry>(
      transaction_.ask(Statements<RegistryEntry>::select_one(), Values().text(config_hash)));
  looked_ = Looked{std::string(config_hash), found};
  return found;
}

std::vector<RegistryEntry> PostgresTables::entries() const {
  lock_everything();
  return read_rows<RegistryEntry>(
      transaction_.ask(Statements<RegistryEntry>::select_newest_first()));
}

std::optional<Share> PostgresTables::share(std::string_view config_hash) const {
  lock_stream(events::registry_stream(config_hash));
  return read_row<Share>(
      transaction_.ask(Statements<Share>::select_one(), Values().text(config_hash)));
}

std::optional<Lease> PostgresTables::lease(std::int64_t id) const {
  lock(numbered("lease", id));
  return read_row<Lease>(transaction_.ask(Statements<Lease>::select_one(), Values().integer(id)));
}

std::optional<PendingTermination> PostgresTables::pending_termination(
    std::string_view subject) const {
  lock(pending_termination_lock(subject));
  return read_row<PendingTermination>(
      transaction_.ask(Statements<PendingTermination>::select_one(), Values().text(subject)));
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
  lock(lock_of(row));
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

void PostgresTables::put(const CachedCluster& row) { put_row(row); }
void PostgresTables::put(const RegistryEntry& row) {
  put_row(row);
  looked_ = Looked{row.config_hash, row};
}
void PostgresTables::put(const Share& row) { put_row(row); }
void PostgresTables::put(const Lease& row) { put_row(row); }
void PostgresTables::put(const PendingTermination& row) { put_row(row); }
void PostgresTables::put(const Participant& row) { put_row(row); }

void PostgresTables::erase_cluster(std::string_view cluster_id) {
  lock_stream(events::cluster_stream(cluster_id));
  erase_row<CachedCluster>(cluster_id);
}
void PostgresTables::erase_entry(std::string_view config_hash) {
  lock_stream(events::registry_stream(config_hash));
  looked_.reset();
  erase_row<RegistryEntry>(config_hash);
}
void PostgresTables::erase_share(std::string_view config_hash) {
  lock_stream(events::registry_stream(config_hash));
  erase_row<Share>(config_hash);
}
void PostgresTables::erase_lease(std::int64_t id) {
  lock(numbered("lease", id));
  erase_row<Lease>(id);
}
void PostgresTables::erase_pending_termination(std::string_view subject) {
  lock(pending_termination_lock(subject));
  erase_row<PendingTermination>(subject);
}
void PostgresTables::erase_participant(std::int64_t id) {
  lock(numbered("participant", id));
  erase_row<Participant>(id);
}

void PostgresTables::clear() {
  lock_everything();
  looked_.reset();
  transaction_.change(Statements<CachedCluster>::clear(), {});
  transaction_.change(Statements<RegistryEntry>::clear(), {});
  transaction_.change(Statements<Share>::clear(), {});
  transaction_.change(Statements<Lease>::clear(), {});
  transaction_.change(Statements<PendingTermination>::clear(), {});
  transaction_.change(Statements<Participant>::clear(), {});
  changed_ = true;
}

}  // namespace dbcache::store::postgres
