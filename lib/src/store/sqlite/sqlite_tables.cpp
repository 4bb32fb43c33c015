#include "store/sqlite/sqlite_tables.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <boost/describe.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "rows/fields.hpp"
#include "store/sqlite/sqlite_rows.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::store::sqlite {
namespace {

using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::RawRow;
using rows::Share;

json::object raw_columns(const Statement& statement) {
  json::object columns;
  for (int at = 0; at < statement.columns(); ++at) {
    columns[statement.name(at)] = raw_value(statement, at);
  }
  return columns;
}

template <class Row>
std::vector<RawRow> all_raw(Connection& connection) {
  auto query = connection.prepare(Statements<Row>::select().c_str());
  std::vector<RawRow> rows;
  while (query->step()) {
    json::object columns = raw_columns(*query);
    const json::value& key = columns.at(sql::Table<Row>::key);
    rows.push_back({key.is_string() ? std::string(key.get_string()) : json::serialize(key), {}});
    rows.back().columns = std::move(columns);
  }
  std::sort(rows.begin(), rows.end(),
            [](const RawRow& a, const RawRow& b) { return a.key < b.key; });
  return rows;
}

template <class T>
void bind_field(Statement& statement, int at, const T& value) {
  if constexpr (rows::IsOptional<T>::value) {
    if (value) {
      bind_field(statement, at, *value);
    } else {
      statement.bind(at, std::nullopt);
    }
  } else if constexpr (std::is_same_v<T, Timestamp>) {
    statement.bind(at, format_timestamp(value));
  } else if constexpr (std::is_same_v<T, RegistryStatus>) {
    statement.bind(at, to_string(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    statement.bind(at, std::int64_t{value});
  } else if constexpr (boost::describe::has_describe_enumerators<T>::value) {
    statement.bind(at, std::string_view(boost::describe::enum_to_string(value, "unknown")));
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::int64_t>) {
    statement.bind(at, value);
  } else {  // a struct or a list
    statement.bind(at, text::json_text(rows::write_field(value, {})));
  }
}

template <class Row>
void put_row(Connection& connection, const Row& row) {
  auto query = connection.prepare(Statements<Row>::upsert().c_str());
  int at = 0;
  rows::for_each_member<Row>([&](auto member) { bind_field(*query, ++at, row.*member.pointer); });
  query->step();
}

template <class Row, class Key>
void erase_row(Connection& connection, const Key& key) {
  auto query = connection.prepare(Statements<Row>::erase().c_str());
  lend_key(*query, 1, key);
  query->step();
}

template <class Row>
void clear_table(Connection& connection) {
  connection.prepare(Statements<Row>::clear().c_str())->step();
}

/// Sets only the columns that change, and returns the row as it is then. To set them all would
/// remove the row from each index and put it back.
template <class Row, class Change>
std::optional<Row> change_row(Connection& connection, std::string_view key,
                              const std::optional<Row>& before, const Change& change) {
  if (!before) return std::nullopt;
  Row after = *before;
  change(after);
  std::uint32_t changed = 0;
  std::uint32_t column = 1;
  rows::for_each_member<Row>([&](auto member) {
    if (!((*before).*member.pointer == after.*member.pointer)) changed |= column;
    column <<= 1U;
  });
  if (changed == 0) return after;
  auto query = connection.prepare(Statements<Row>::update(changed).c_str());
  int at = 0;
  column = 1;
  rows::for_each_member<Row>([&](auto member) {
    if ((changed & column) != 0) bind_field(*query, ++at, after.*member.pointer);
    column <<= 1U;
  });
  lend_key(*query, ++at, key);
  query->step();
  return after;
}

void bind_filter(Statement& statement, int at, const std::optional<bool>& flag) {
  statement.bind(at, flag ? std::optional<std::int64_t>(*flag) : std::nullopt);
}

}  // namespace

std::optional<CachedCluster> SqliteTables::cluster(std::string_view cluster_id) const {
  return find_row<CachedCluster>(connection_, cluster_id);
}

std::vector<CachedCluster> SqliteTables::clusters(const ClusterFilter& filter, Timestamp now,
                                                  std::optional<std::size_t> limit) const {
  auto query = connection_.prepare(sql::select_clusters<SqliteDialect>().c_str());
  bind_filter(*query, 1, filter.is_active);
  bind_filter(*query, 2, filter.is_shared);
  bind_filter(*query, 3, filter.is_expired);
  query->bind(4, format_timestamp(now));
  query->bind(5, limit ? static_cast<std::int64_t>(*limit) : std::int64_t{-1});
  return read_rows<CachedCluster>(*query);
}

CacheStatistics SqliteTables::statistics(Timestamp now) const {
  auto query = connection_.prepare(
      "SELECT count(*), count(*) FILTER (WHERE is_active <> 0), "
      "count(*) FILTER (WHERE expiry_time <= ?1), coalesce(sum(access_count >> 32), 0), "
      "count(*) FILTER (WHERE is_shared <> 0), "
      "count(*) FILTER (WHERE typeof(expiry_time) <> 'text' OR typeof(access_count) <> 'integer' "
      "OR typeof(is_active) <> 'integer' OR typeof(is_shared) <> 'integer'), "
      "coalesce(sum(access_count & 4294967295), 0) FROM clusters");
  query->bind(1, format_timestamp(now));
  query->step();
  if (query->integer(5) != 0) {
    throw CorruptDatabase(
        "a row of clusters holds a value that dbcache never writes there; run `dbcache replay "
        "--check` to see what was changed, or `dbcache replay` to rebuild the table from the log");
  }
  CacheStatistics totals;
  totals.total_clusters = query->integer(0);
  totals.active_clusters = query->integer(1);
  totals.expired_clusters = query->integer(2);
  // Summed in halves: sum() fails past 64 bits, and users may give a count of any size.
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::int64_t low = query->integer(6);
  const std::int64_t high = query->integer(3) + (low >> 32);
  totals.total_accesses = high > (most >> 32) ? most : (high << 32) | (low & 0xFFFFFFFF);
  totals.shared_clusters = query->integer(4);
  return totals;
}

std::optional<RegistryEntry> SqliteTables::entry(std::string_view config_hash) const {
  // A command reads the entry that it changes, and the projection of the change reads it again.
  if (entry_ && entry_->config_hash == config_hash) return entry_;
  entry_ = find_row<RegistryEntry>(connection_, config_hash);
  return entry_;
}

std::vector<RegistryEntry> SqliteTables::entries() const {
  return all_rows<RegistryEntry>(connection_, Statements<RegistryEntry>::select_newest_first());
}

std::optional<Share> SqliteTables::share(std::string_view config_hash) const {
  return find_row<Share>(connection_, config_hash);
}
std::optional<Lease> SqliteTables::lease(std::int64_t id) const {
  return find_row<Lease>(connection_, id);
}
std::optional<PendingTermination> SqliteTables::pending_termination(
    std::string_view subject) const {
  return find_row<PendingTermination>(connection_, subject);
}
std::vector<Share> SqliteTables::shares() const {
  return all_rows<Share>(connection_, Statements<Share>::select_in_key_order());
}
std::vector<Lease> SqliteTables::leases() const {
  return all_rows<Lease>(connection_, Statements<Lease>::select_in_key_order());
}
std::vector<PendingTermination> SqliteTables::pending_terminations() const {
  return all_rows<PendingTermination>(connection_,
                                      Statements<PendingTermination>::select_in_key_order());
}
std::vector<Participant> SqliteTables::participants() const {
  return all_rows<Participant>(connection_, Statements<Participant>::select_in_key_order());
}

std::vector<RawRow> SqliteTables::raw_rows(std::string_view table) const {
  if (table == rows::clusters_table) return all_raw<CachedCluster>(connection_);
  if (table == rows::registry_table) return all_raw<RegistryEntry>(connection_);
  if (table == Share::table) return all_raw<Share>(connection_);
  if (table == Lease::table) return all_raw<Lease>(connection_);
  if (table == PendingTermination::table) return all_raw<PendingTermination>(connection_);
  return all_raw<Participant>(connection_);
}

void SqliteTables::put(const CachedCluster& row) { put_row(connection_, row); }
void SqliteTables::put(const RegistryEntry& row) {
  entry_.reset();
  put_row(connection_, row);
  note_cluster(row);
}

/// Keeps the index of the entries by their cluster.
void SqliteTables::note_cluster(const RegistryEntry& row) {
  if (!row.cluster_id) return forget_cluster(row.config_hash);
  auto query = connection_.prepare(
      "INSERT INTO entry_clusters (config_hash, cluster_id) VALUES (?1, ?2) "
      "ON CONFLICT (config_hash) DO UPDATE SET cluster_id = excluded.cluster_id");
  query->lend(1, row.config_hash);
  query->lend(2, *row.cluster_id);
  query->step();
}

void SqliteTables::forget_cluster(std::string_view config_hash) {
  auto query = connection_.prepare("DELETE FROM entry_clusters WHERE config_hash = ?1");
  query->lend(1, config_hash);
  query->step();
}
void SqliteTables::put(const Share& row) { put_row(connection_, row); }
void SqliteTables::put(const Lease& row) { put_row(connection_, row); }
void SqliteTables::put(const PendingTermination& row) { put_row(connection_, row); }
void SqliteTables::put(const Participant& row) { put_row(connection_, row); }

void SqliteTables::change_cluster(std::string_view cluster_id,
                                  const Change<CachedCluster>& change) {
  change_row(connection_, cluster_id, cluster(cluster_id), change);
}

void SqliteTables::change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) {
  const auto before = entry(config_hash);
  entry_.reset();
  const auto after = change_row(connection_, config_hash, before, change);
  if (after && after->cluster_id != before->cluster_id) note_cluster(*after);
}

void SqliteTables::erase_cluster(std::string_view cluster_id) {
  erase_row<CachedCluster>(connection_, cluster_id);
}
void SqliteTables::erase_entry(std::string_view config_hash) {
  entry_.reset();
  erase_row<RegistryEntry>(connection_, config_hash);
  forget_cluster(config_hash);
}
void SqliteTables::erase_share(std::string_view config_hash) {
  erase_row<Share>(connection_, config_hash);
}
void SqliteTables::erase_lease(std::int64_t id) { erase_row<Lease>(connection_, id); }
void SqliteTables::erase_pending_termination(std::string_view subject) {
  erase_row<PendingTermination>(connection_, subject);
}
void SqliteTables::erase_participant(std::int64_t id) { erase_row<Participant>(connection_, id); }

void SqliteTables::clear() {
  entry_.reset();
  clear_table<CachedCluster>(connection_);
  clear_table<RegistryEntry>(connection_);
  connection_.prepare("DELETE FROM entry_clusters")->step();
  clear_table<Share>(connection_);
  clear_table<Lease>(connection_);
  clear_table<PendingTermination>(connection_);
  clear_table<Participant>(connection_);
}

rows::DocumentedRows SqliteTables::documented_rows() const {
  rows::DocumentedRows rows;
  for (auto query = connection_.prepare("SELECT * FROM clusters ORDER BY id"); query->step();) {
    rows.clusters.push_back(raw_columns(*query));
  }
  for (auto query = connection_.prepare("SELECT * FROM shared_cluster_registry ORDER BY id");
       query->step();) {
    rows.entries.push_back(raw_columns(*query));
  }
  return rows;
}

}  // namespace dbcache::store::sqlite
