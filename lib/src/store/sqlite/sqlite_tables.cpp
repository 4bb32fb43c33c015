#include "store/sqlite/sqlite_tables.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/fields.hpp"
#include "text/hex.hpp"
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

using projections::RawRow;

/// A column as JSON, whatever it holds (see commands::DocumentedRows).
json::value raw_value(const SQLite::Column& column) {
  if (column.isInteger()) return column.getInt64();
  if (column.isFloat()) {
    const double number = column.getDouble();
    if (std::isfinite(number)) return number;
    return json::object{{"real", number > 0 ? "inf" : "-inf"}};
  }
  if (column.isNull()) return nullptr;
  const std::string bytes = column.getString();
  if (column.isBlob()) return json::object{{"blob", text::to_hex(bytes)}};
  if (!text::is_utf8(bytes)) return json::object{{"text", text::to_hex(bytes)}};
  return json::string(bytes);
}

json::object raw_columns(SQLite::Statement& statement) {
  json::object columns;
  for (int at = 0; at < statement.getColumnCount(); ++at) {
    columns[statement.getColumnName(at)] = raw_value(statement.getColumn(at));
  }
  return columns;
}

/// Reads the columns of a row in their documented order. Throws CorruptDatabase, which says how to
/// mend it, for a column that holds what dbcache never writes.
class RowReader {
 public:
  RowReader(SQLite::Statement& statement, std::string_view table)
      : statement_(statement), table_(table) {}

  template <class Row>
  Row read() {
    Row row;
    events::for_each_member<Row>([&](auto member) {
      column_.emplace(statement_.getColumn(next_++));
      name_ = member.name;
      read_into(row.*member.pointer);
    });
    return row;
  }

 private:
  template <class T>
  void read_into(std::optional<T>& field) {
    if (!column_->isNull()) read_into(field.emplace());
  }
  void read_into(std::int64_t& field) {
    require(column_->isInteger());
    field = column_->getInt64();
  }
  void read_into(bool& field) {
    require(column_->isInteger());
    field = column_->getInt64() != 0;
  }
  void read_into(std::string& field) {
    require(column_->isText());
    field = column_->getString();
  }
  void read_into(Timestamp& field) {
    require(column_->isText());
    try {
      field = parse_timestamp(column_->getString());
    } catch (const InvalidArgument&) {
      require(false);
    }
  }
  void read_into(RegistryStatus& field) {
    require(column_->isText());
    try {
      field = parse_registry_status(column_->getString());
    } catch (const InvalidArgument&) {
      require(false);
    }
  }

  void require(bool good) {
    if (good) return;
    throw CorruptDatabase(
        fmt::format("{} of a row of {} holds what dbcache never writes there: {}; `dbcache replay "
                    "--check` shows "
                    "what was changed, `dbcache replay` rebuilds the table from the log",
                    name_, table_, json::serialize(raw_value(*column_))));
  }

  SQLite::Statement& statement_;
  std::string_view table_;
  std::optional<SQLite::Column> column_;
  std::string_view name_;
  int next_ = 0;
};

template <class Row>
std::vector<Row> read_rows(SQLite::Statement& statement, std::string_view table) {
  std::vector<Row> rows;
  while (statement.executeStep()) rows.push_back(RowReader(statement, table).read<Row>());
  return rows;
}

template <class Row>
std::optional<Row> read_row(SQLite::Statement& statement, std::string_view table) {
  if (!statement.executeStep()) return std::nullopt;
  return RowReader(statement, table).read<Row>();
}

std::vector<RawRow> read_raw(SQLite::Statement& statement, std::string_view key_column) {
  std::vector<RawRow> rows;
  while (statement.executeStep()) {
    json::object columns = raw_columns(statement);
    const json::value& key = columns.at(key_column);
    rows.push_back({key.is_string() ? std::string(key.get_string()) : json::serialize(key), {}});
    rows.back().columns = std::move(columns);
  }
  std::sort(rows.begin(), rows.end(),
            [](const RawRow& a, const RawRow& b) { return a.key < b.key; });
  return rows;
}

void bind(SQLite::Statement& statement, int at, const std::optional<std::string>& text) {
  if (text) {
    statement.bind(at, *text);
  } else {
    statement.bind(at);
  }
}

void bind(SQLite::Statement& statement, int at, const std::optional<std::int64_t>& number) {
  if (number) {
    statement.bind(at, *number);
  } else {
    statement.bind(at);
  }
}

void bind_filter(SQLite::Statement& statement, int at, const std::optional<bool>& flag) {
  if (flag) {
    statement.bind(at, *flag ? 1 : 0);
  } else {
    statement.bind(at);
  }
}

}  // namespace

std::optional<CachedCluster> SqliteTables::cluster(std::string_view cluster_id) const {
  auto query = connection_.prepare(SELECT_CLUSTERS " WHERE cluster_id = ?1");
  query->bind(1, std::string(cluster_id));
  return read_row<CachedCluster>(*query, projections::clusters_table);
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
  return read_rows<CachedCluster>(*query, projections::clusters_table);
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
  query->executeStep();
  if (query->getColumn(5).getInt64() != 0) {
    throw CorruptDatabase(
        "a row of clusters holds what dbcache never writes there; `dbcache replay --check` shows "
        "what was changed, `dbcache replay` rebuilds the table from the log");
  }
  CacheStatistics totals;
  totals.total_clusters = query->getColumn(0).getInt64();
  totals.active_clusters = query->getColumn(1).getInt64();
  totals.expired_clusters = query->getColumn(2).getInt64();
  // Summed in halves, since sum() fails past 64 bits, and a count may be given as large as they
  // get.
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::int64_t low = query->getColumn(6).getInt64();
  const std::int64_t high = query->getColumn(3).getInt64() + (low >> 32);
  totals.total_accesses = high > (most >> 32) ? most : (high << 32) | (low & 0xFFFFFFFF);
  totals.shared_clusters = query->getColumn(4).getInt64();
  return totals;
}

std::optional<RegistryEntry> SqliteTables::entry(std::string_view config_hash) const {
  auto query = connection_.prepare(SELECT_ENTRIES " WHERE config_hash = ?1");
  query->bind(1, std::string(config_hash));
  return read_row<RegistryEntry>(*query, projections::registry_table);
}

std::vector<RegistryEntry> SqliteTables::entries() const {
  auto query = connection_.prepare(SELECT_ENTRIES " ORDER BY id DESC");
  return read_rows<RegistryEntry>(*query, projections::registry_table);
}

std::vector<RawRow> SqliteTables::raw_clusters() const {
  auto query = connection_.prepare(SELECT_CLUSTERS);
  return read_raw(*query, "cluster_id");
}

std::vector<RawRow> SqliteTables::raw_entries() const {
  auto query = connection_.prepare(SELECT_ENTRIES);
  return read_raw(*query, "config_hash");
}

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
  bind(*query, 3, row.cluster_name);
  bind(*query, 4, row.host);
  bind(*query, 5, row.num_workers);
  query->bind(6, row.status);
  query->bind(7, format_timestamp(row.created_at));
  query->bind(8, format_timestamp(row.expiry_time));
  query->bind(9, format_timestamp(row.last_accessed));
  query->bind(10, row.access_count);
  query->bind(11, row.is_active ? 1 : 0);
  query->bind(12, row.is_shared ? 1 : 0);
  query->exec();
}

void SqliteTables::put(const RegistryEntry& row) {
  auto query = connection_.prepare(
      "INSERT INTO shared_cluster_registry (id, config_hash, cluster_id, status, worker_pid, "
      "creation_time, usage_count, error_message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
      "ON CONFLICT (config_hash) DO UPDATE SET id = ?1, cluster_id = ?3, status = ?4, "
      "worker_pid = ?5, creation_time = ?6, usage_count = ?7, error_message = ?8");
  query->bind(1, row.id);
  query->bind(2, row.config_hash);
  bind(*query, 3, row.cluster_id);
  query->bind(4, std::string(to_string(row.status)));
  bind(*query, 5, row.worker_pid);
  query->bind(6, format_timestamp(row.creation_time));
  query->bind(7, row.usage_count);
  bind(*query, 8, row.error_message);
  query->exec();
}

void SqliteTables::erase_cluster(std::string_view cluster_id) {
  auto query = connection_.prepare("DELETE FROM clusters WHERE cluster_id = ?1");
  query->bind(1, std::string(cluster_id));
  query->exec();
}

void SqliteTables::erase_entry(std::string_view config_hash) {
  auto query = connection_.prepare("DELETE FROM shared_cluster_registry WHERE config_hash = ?1");
  query->bind(1, std::string(config_hash));
  query->exec();
}

void SqliteTables::clear() {
  connection_.prepare("DELETE FROM clusters")->exec();
  connection_.prepare("DELETE FROM shared_cluster_registry")->exec();
}

commands::DocumentedRows SqliteTables::documented_rows() const {
  commands::DocumentedRows rows;
  for (auto query = connection_.prepare("SELECT * FROM clusters ORDER BY id");
       query->executeStep();) {
    rows.clusters.push_back(raw_columns(*query));
  }
  for (auto query = connection_.prepare("SELECT * FROM shared_cluster_registry ORDER BY id");
       query->executeStep();) {
    rows.entries.push_back(raw_columns(*query));
  }
  return rows;
}

}  // namespace dbcache::store::sqlite
