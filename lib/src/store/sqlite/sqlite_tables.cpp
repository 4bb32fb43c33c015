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
#include "store/sql/row_reader.hpp"
#include "store/sql/statements.hpp"
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

struct SqliteDialect {
  static std::string parameter(int number, std::string_view = {}) {
    return fmt::format("?{}", number);
  }
  static std::string is_true(std::string_view column) { return fmt::format("({} <> 0)", column); }
};
template <class Row>
using Statements = sql::Statements<SqliteDialect, Row>;

/// A column as JSON, whatever it holds (see rows::DocumentedRows).
json::value raw_value(const Statement& statement, int at) {
  switch (statement.type(at)) {
    case SQLITE_INTEGER:
      return statement.integer(at);
    case SQLITE_FLOAT: {
      const double number = statement.real(at);
      if (std::isfinite(number)) return number;
      return json::object{{"real", number > 0 ? "inf" : "-inf"}};
    }
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_BLOB:
      return json::object{{"blob", text::to_hex(statement.bytes(at))}};
    default: {
      const std::string_view bytes = statement.bytes(at);
      if (!text::is_utf8(bytes)) return json::object{{"text", text::to_hex(bytes)}};
      return json::string(bytes);
    }
  }
}

json::object raw_columns(const Statement& statement) {
  json::object columns;
  for (int at = 0; at < statement.columns(); ++at) {
    columns[statement.name(at)] = raw_value(statement, at);
  }
  return columns;
}

/// The present row of a statement, as RowReader reads it.
class Columns {
 public:
  explicit Columns(const Statement& statement) : statement_(statement) {}

  [[nodiscard]] bool is_null(int at) const { return statement_.type(at) == SQLITE_NULL; }
  [[nodiscard]] std::optional<std::int64_t> integer(int at) const {
    if (statement_.type(at) != SQLITE_INTEGER) return std::nullopt;
    return statement_.integer(at);
  }
  [[nodiscard]] std::optional<std::string_view> text(int at) const {
    if (statement_.type(at) != SQLITE_TEXT) return std::nullopt;
    return statement_.bytes(at);
  }
  [[nodiscard]] json::value raw(int at) const { return raw_value(statement_, at); }

 private:
  const Statement& statement_;
};

template <class Row>
std::vector<Row> read_rows(Statement& statement) {
  std::vector<Row> rows;
  const Columns columns(statement);
  while (statement.step()) {
    rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
  }
  return rows;
}

template <class Row>
std::optional<Row> read_row(Statement& statement) {
  if (!statement.step()) return std::nullopt;
  const Columns columns(statement);
  return sql::RowReader(columns, sql::Table<Row>::name).template read<Row>();
}

// The key must live until the statement is given back.
void lend_key(Statement& statement, int at, std::string_view key) { statement.lend(at, key); }
void lend_key(Statement& statement, int at, std::int64_t key) { statement.bind(at, key); }

template <class Row, class Key>
std::optional<Row> find_row(Connection& connection, const Key& key) {
  auto query = connection.prepare(Statements<Row>::select_one().c_str());
  lend_key(*query, 1, key);
  return read_row<Row>(*query);
}

template <class Row>
std::vector<Row> all_rows(Connection& connection, const std::string& sql) {
  auto query = connection.prepare(sql.c_str());
  return read_rows<Row>(*query);
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

/// Sets only the columns that change. To set them all would remove the row from each index and put
/// it back.
template <class Row, class Change>
void change_row(Connection& connection, std::string_view key, const std::optional<Row>& before,
                const Change& change) {
  if (!before) return;
  Row after = *before;
  change(after);
  std::uint32_t changed = 0;
  std::uint32_t column = 1;
  rows::for_each_member<Row>([&](auto member) {
    if (!((*before).*member.pointer == after.*member.pointer)) changed |= column;
    column <<= 1U;
  });
  if (changed == 0) return;
  auto query = connection.prepare(Statements<Row>::update(changed).c_str());
  int at = 0;
  column = 1;
  rows::for_each_member<Row>([&](auto member) {
    if ((changed & column) != 0) bind_field(*query, ++at, after.*member.pointer);
    column <<= 1U;
  });
  lend_key(*query, ++at, key);
  query->step();
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
  change_row(connection_, config_hash, before, change);
}

void SqliteTables::erase_cluster(std::string_view cluster_id) {
  erase_row<CachedCluster>(connection_, cluster_id);
}
void SqliteTables::erase_entry(std::string_view config_hash) {
  entry_.reset();
  erase_row<RegistryEntry>(connection_, config_hash);
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
