#include "store/sqlite/sqlite_tables.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "rows/fields.hpp"
#include "store/row_reader.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

// Literals, since they are parts of literals: every column, in the order of projections/rows.hpp.
#define SELECT_CLUSTERS                                                                       \
  "SELECT id, cluster_id, cluster_name, host, num_workers, status, created_at, expiry_time, " \
  "last_accessed, access_count, is_active, is_shared FROM clusters"
#define SELECT_ENTRIES                                                                   \
  "SELECT id, config_hash, cluster_id, status, worker_pid, creation_time, usage_count, " \
  "error_message FROM shared_cluster_registry"

namespace dbcache::store::sqlite {
namespace {

using rows::Debt;
using rows::Lease;
using rows::Participant;
using rows::RawRow;
using rows::Share;

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

/// A row of a statement's, as RowReader reads it.
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
std::vector<Row> read_rows(Statement& statement, std::string_view table) {
  std::vector<Row> rows;
  const Columns columns(statement);
  while (statement.step()) rows.push_back(RowReader(columns, table).template read<Row>());
  return rows;
}

template <class Row>
std::optional<Row> read_row(Statement& statement, std::string_view table) {
  if (!statement.step()) return std::nullopt;
  const Columns columns(statement);
  return RowReader(columns, table).template read<Row>();
}

std::vector<RawRow> read_raw(Statement& statement, std::string_view key_column) {
  std::vector<RawRow> rows;
  while (statement.step()) {
    json::object columns = raw_columns(statement);
    const json::value& key = columns.at(key_column);
    rows.push_back({key.is_string() ? std::string(key.get_string()) : json::serialize(key), {}});
    rows.back().columns = std::move(columns);
  }
  std::sort(rows.begin(), rows.end(),
            [](const RawRow& a, const RawRow& b) { return a.key < b.key; });
  return rows;
}

/// The statements of a table whose columns are a described row's members, its key the first.
template <class Row>
struct RowSql {
  static std::string columns() {
    std::string names;
    rows::for_each_member<Row>([&](auto member) {
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", member.name);
    });
    return names;
  }
  static std::string key_column() {
    const std::string names = columns();
    return names.substr(0, names.find(','));
  }
  static std::string values() {
    std::string marks;
    rows::for_each_member<Row>([&](auto) { marks += marks.empty() ? "?" : ", ?"; });
    return marks;
  }

  // The connection keeps a statement under its text's address: each is made once, and stays.
  static const char* select_all() {
    static const std::string& sql =
        *new std::string(fmt::format("SELECT {} FROM {} ORDER BY 1", columns(), Row::table));
    return sql.c_str();
  }
  static const char* select_one() {
    static const std::string& sql = *new std::string(
        fmt::format("SELECT {} FROM {} WHERE {} = ?1", columns(), Row::table, key_column()));
    return sql.c_str();
  }
  static const char* put() {
    static const std::string& sql = *new std::string(
        fmt::format("INSERT OR REPLACE INTO {} ({}) VALUES ({})", Row::table, columns(), values()));
    return sql.c_str();
  }
  static const char* erase() {
    static const std::string& sql =
        *new std::string(fmt::format("DELETE FROM {} WHERE {} = ?1", Row::table, key_column()));
    return sql.c_str();
  }
  static const char* clear() {
    static const std::string& sql = *new std::string(fmt::format("DELETE FROM {}", Row::table));
    return sql.c_str();
  }
};

/// The statements that set some columns of a row. The connection keeps each under its text's
/// address, so that stays; few sets of columns ever change together.
template <class Row>
struct UpdateSql {
  static const char* of(std::uint32_t changed, std::string_view table,
                        std::string_view key_column) {
    static std::mutex& mutex = *new std::mutex;
    static auto& texts = *new std::map<std::uint32_t, std::string>;
    const std::lock_guard lock(mutex);
    std::string& text = texts[changed];
    if (text.empty()) {
      std::string columns;
      rows::for_each_member<Row>([&, column = std::uint32_t{1}](auto member) mutable {
        if ((changed & column) != 0) {
          columns += fmt::format("{}{} = ?", columns.empty() ? "" : ", ", member.name);
        }
        column <<= 1U;
      });
      text = fmt::format("UPDATE {} SET {} WHERE {} = ?", table, columns, key_column);
    }
    return text.c_str();
  }
};

void bind_key(Statement& statement, std::string_view key) { statement.bind(1, key); }
void bind_key(Statement& statement, std::int64_t key) { statement.bind(1, key); }

template <class Row, class Key>
std::optional<Row> find_row(Connection& connection, const Key& key) {
  auto query = connection.prepare(RowSql<Row>::select_one());
  bind_key(*query, key);
  return read_row<Row>(*query, Row::table);
}

template <class Row>
std::vector<Row> all_rows(Connection& connection) {
  auto query = connection.prepare(RowSql<Row>::select_all());
  return read_rows<Row>(*query, Row::table);
}

template <class Row>
std::vector<RawRow> all_raw(Connection& connection) {
  auto query = connection.prepare(RowSql<Row>::select_all());
  // A copy: the statement gives its names up where the schema changed and it is prepared anew.
  const std::string key_column = query->name(0);
  return read_raw(*query, key_column);
}

template <class Row>
void put_row(Connection& connection, const Row& row) {
  auto query = connection.prepare(RowSql<Row>::put());
  int at = 0;
  for (const auto& column : rows::stored_columns(row)) {
    const json::value& value = column.value();
    ++at;
    if (value.is_null()) {
      query->bind(at, std::nullopt);
    } else if (value.is_int64()) {
      query->bind(at, value.get_int64());
    } else {
      query->bind(at, std::string_view(value.get_string()));
    }
  }
  query->step();
}

template <class Row, class Key>
void erase_row(Connection& connection, const Key& key) {
  auto query = connection.prepare(RowSql<Row>::erase());
  bind_key(*query, key);
  query->step();
}

template <class T>
void bind_field(Statement& statement, int at, const T& value) {
  if constexpr (std::is_same_v<T, Timestamp>) {
    statement.bind(at, format_timestamp(value));
  } else if constexpr (std::is_same_v<T, RegistryStatus>) {
    statement.bind(at, to_string(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    statement.bind(at, std::int64_t{value});
  } else {
    statement.bind(at, value);
  }
}

/// Sets the columns that change. A statement that set them all would take the row out of every
/// index and put it back.
template <class Row, class Change>
void change_row(Connection& connection, std::string_view table, std::string_view key_column,
                std::string_view key, const std::optional<Row>& before, const Change& change) {
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
  auto query = connection.prepare(UpdateSql<Row>::of(changed, table, key_column));
  int at = 0;
  column = 1;
  rows::for_each_member<Row>([&](auto member) {
    if ((changed & column) != 0) bind_field(*query, ++at, after.*member.pointer);
    column <<= 1U;
  });
  query->bind(++at, key);
  query->step();
}

void bind_filter(Statement& statement, int at, const std::optional<bool>& flag) {
  statement.bind(at, flag ? std::optional<std::int64_t>(*flag) : std::nullopt);
}

}  // namespace

std::optional<CachedCluster> SqliteTables::cluster(std::string_view cluster_id) const {
  auto query = connection_.prepare(SELECT_CLUSTERS " WHERE cluster_id = ?1");
  query->lend(1, cluster_id);
  return read_row<CachedCluster>(*query, rows::clusters_table);
}

std::vector<CachedCluster> SqliteTables::clusters(const ClusterFilter& filter, Timestamp now,
                                                  std::optional<std::size_t> limit) const {
  auto query = connection_.prepare(
      SELECT_CLUSTERS
      " "
      "WHERE (?1 IS NULL OR (is_active <> 0) = ?1) AND (?2 IS NULL OR (is_shared <> 0) = ?2) "
      "AND (?3 IS NULL OR (expiry_time <= ?4) = ?3) ORDER BY id DESC LIMIT ?5");
  bind_filter(*query, 1, filter.is_active);
  bind_filter(*query, 2, filter.is_shared);
  bind_filter(*query, 3, filter.is_expired);
  query->bind(4, format_timestamp(now));
  query->bind(5, limit ? static_cast<std::int64_t>(*limit) : std::int64_t{-1});
  return read_rows<CachedCluster>(*query, rows::clusters_table);
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
        "a row of clusters holds what dbcache never writes there; `dbcache replay --check` shows "
        "what was changed, `dbcache replay` rebuilds the table from the log");
  }
  CacheStatistics totals;
  totals.total_clusters = query->integer(0);
  totals.active_clusters = query->integer(1);
  totals.expired_clusters = query->integer(2);
  // Summed in halves, since sum() fails past 64 bits, and a count may be given as large as they
  // get.
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::int64_t low = query->integer(6);
  const std::int64_t high = query->integer(3) + (low >> 32);
  totals.total_accesses = high > (most >> 32) ? most : (high << 32) | (low & 0xFFFFFFFF);
  totals.shared_clusters = query->integer(4);
  return totals;
}

std::optional<RegistryEntry> SqliteTables::entry(std::string_view config_hash) const {
  // A command reads the entry that it changes, and so does projecting the change.
  if (entry_ && entry_->config_hash == config_hash) return entry_;
  auto query = connection_.prepare(SELECT_ENTRIES " WHERE config_hash = ?1");
  query->lend(1, config_hash);
  entry_ = read_row<RegistryEntry>(*query, rows::registry_table);
  return entry_;
}

std::vector<RegistryEntry> SqliteTables::entries() const {
  auto query = connection_.prepare(SELECT_ENTRIES " ORDER BY id DESC");
  return read_rows<RegistryEntry>(*query, rows::registry_table);
}

std::optional<Share> SqliteTables::share(std::string_view config_hash) const {
  return find_row<Share>(connection_, config_hash);
}
std::optional<Lease> SqliteTables::lease(std::int64_t id) const {
  return find_row<Lease>(connection_, id);
}
std::optional<Debt> SqliteTables::debt(std::string_view subject) const {
  return find_row<Debt>(connection_, subject);
}
std::vector<Share> SqliteTables::shares() const { return all_rows<Share>(connection_); }
std::vector<Lease> SqliteTables::leases() const { return all_rows<Lease>(connection_); }
std::vector<Debt> SqliteTables::debts() const { return all_rows<Debt>(connection_); }
std::vector<Participant> SqliteTables::participants() const {
  return all_rows<Participant>(connection_);
}

std::vector<RawRow> SqliteTables::raw_rows(std::string_view table) const {
  if (table == rows::clusters_table) {
    auto query = connection_.prepare(SELECT_CLUSTERS);
    return read_raw(*query, "cluster_id");
  }
  if (table == rows::registry_table) {
    auto query = connection_.prepare(SELECT_ENTRIES);
    return read_raw(*query, "config_hash");
  }
  if (table == Share::table) return all_raw<Share>(connection_);
  if (table == Lease::table) return all_raw<Lease>(connection_);
  if (table == Debt::table) return all_raw<Debt>(connection_);
  return all_raw<Participant>(connection_);
}

void SqliteTables::put(const Share& row) { put_row(connection_, row); }
void SqliteTables::put(const Lease& row) { put_row(connection_, row); }
void SqliteTables::put(const Debt& row) { put_row(connection_, row); }
void SqliteTables::put(const Participant& row) { put_row(connection_, row); }
void SqliteTables::erase_share(std::string_view config_hash) {
  erase_row<Share>(connection_, config_hash);
}
void SqliteTables::erase_lease(std::int64_t id) { erase_row<Lease>(connection_, id); }
void SqliteTables::erase_debt(std::string_view subject) { erase_row<Debt>(connection_, subject); }
void SqliteTables::erase_participant(std::int64_t id) { erase_row<Participant>(connection_, id); }

void SqliteTables::put(const CachedCluster& row) {
  auto query = connection_.prepare(
      "INSERT INTO clusters (id, cluster_id, cluster_name, host, num_workers, status, created_at, "
      "expiry_time, last_accessed, access_count, is_active, is_shared) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
      "ON CONFLICT (cluster_id) DO UPDATE SET id = ?1, cluster_name = ?3, host = ?4, "
      "num_workers = ?5, status = ?6, created_at = ?7, expiry_time = ?8, last_accessed = ?9, "
      "access_count = ?10, is_active = ?11, is_shared = ?12");
  query->bind(1, row.id);
  query->bind(2, row.cluster_id);
  query->bind(3, row.cluster_name);
  query->bind(4, row.host);
  query->bind(5, row.num_workers);
  query->bind(6, row.status);
  query->bind(7, format_timestamp(row.created_at));
  query->bind(8, format_timestamp(row.expiry_time));
  query->bind(9, format_timestamp(row.last_accessed));
  query->bind(10, row.access_count);
  query->bind(11, std::int64_t{row.is_active});
  query->bind(12, std::int64_t{row.is_shared});
  query->step();
}

void SqliteTables::put(const RegistryEntry& row) {
  entry_.reset();
  auto query = connection_.prepare(
      "INSERT INTO shared_cluster_registry (id, config_hash, cluster_id, status, worker_pid, "
      "creation_time, usage_count, error_message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
      "ON CONFLICT (config_hash) DO UPDATE SET id = ?1, cluster_id = ?3, status = ?4, "
      "worker_pid = ?5, creation_time = ?6, usage_count = ?7, error_message = ?8");
  query->bind(1, row.id);
  query->bind(2, row.config_hash);
  query->bind(3, row.cluster_id);
  query->bind(4, to_string(row.status));
  query->bind(5, row.worker_pid);
  query->bind(6, format_timestamp(row.creation_time));
  query->bind(7, row.usage_count);
  query->bind(8, row.error_message);
  query->step();
}

void SqliteTables::change_cluster(std::string_view cluster_id,
                                  const Change<CachedCluster>& change) {
  change_row(connection_, rows::clusters_table, "cluster_id", cluster_id, cluster(cluster_id),
             change);
}

void SqliteTables::change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) {
  const auto before = entry(config_hash);
  entry_.reset();
  change_row(connection_, rows::registry_table, "config_hash", config_hash, before, change);
}

void SqliteTables::erase_cluster(std::string_view cluster_id) {
  auto query = connection_.prepare("DELETE FROM clusters WHERE cluster_id = ?1");
  query->lend(1, cluster_id);
  query->step();
}

void SqliteTables::erase_entry(std::string_view config_hash) {
  entry_.reset();
  auto query = connection_.prepare("DELETE FROM shared_cluster_registry WHERE config_hash = ?1");
  query->lend(1, config_hash);
  query->step();
}

void SqliteTables::clear() {
  entry_.reset();
  connection_.prepare("DELETE FROM clusters")->step();
  connection_.prepare("DELETE FROM shared_cluster_registry")->step();
  connection_.prepare(RowSql<Share>::clear())->step();
  connection_.prepare(RowSql<Lease>::clear())->step();
  connection_.prepare(RowSql<Debt>::clear())->step();
  connection_.prepare(RowSql<Participant>::clear())->step();
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
