#include <limits>

#include <dbcache/errors.hpp>

#include "store/sqlite/sqlite_rows.hpp"
#include "store/sqlite/sqlite_tables.hpp"

// What steps on leases and sweeps ask, each by an index.
namespace dbcache::store::sqlite {
namespace {

using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::Share;

void bind_page(Statement& statement, int at, rows::TableReader::Page page) {
  statement.bind(at, page.after);
  statement.bind(at + 1, static_cast<std::int64_t>(page.limit));
}

template <class Row>
std::vector<Row> page_of(Connection& connection, const std::string& sql, std::string_view value,
                         rows::TableReader::Page page) {
  auto query = connection.prepare(sql.c_str());
  query->lend(1, value);
  bind_page(*query, 2, page);
  return read_rows<Row>(*query);
}

/// The first rows that can be read.
template <class Row>
std::vector<Row> readable_rows(Statement& statement, std::size_t limit) {
  std::vector<Row> rows;
  const Columns columns(statement);
  while (rows.size() < limit && statement.step()) {
    try {
      rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
    } catch (const CorruptDatabase&) {
      // A step that needs this row says so.
    }
  }
  return rows;
}

template <class Row>
std::vector<Row> readable_page(Connection& connection, const std::string& sql,
                               rows::TableReader::Page page) {
  auto query = connection.prepare(sql.c_str());
  query->bind(1, page.after);
  query->bind(2, std::int64_t{-1});  // no limit: it counts the rows that can be read
  return readable_rows<Row>(*query, page.limit);
}

template <class Row>
std::vector<Row> rows_with(Connection& connection, const std::string& sql, std::string_view value) {
  auto query = connection.prepare(sql.c_str());
  query->lend(1, value);
  return read_rows<Row>(*query);
}

std::vector<std::string> texts(Statement& statement) {
  std::vector<std::string> found;
  while (statement.step()) found.emplace_back(statement.bytes(0));
  return found;
}

}  // namespace

std::vector<Lease> SqliteTables::leases_of(std::string_view config_hash, Page page) const {
  return page_of<Lease>(connection_, LeaseStatements::leases_of(), config_hash, page);
}
std::vector<Lease> SqliteTables::leases_on(std::string_view cluster_id, Page page) const {
  return page_of<Lease>(connection_, LeaseStatements::leases_on(), cluster_id, page);
}
std::int64_t SqliteTables::count_leases_of(std::string_view config_hash) const {
  auto query = connection_.prepare(LeaseStatements::count_leases_of().c_str());
  query->lend(1, config_hash);
  query->step();
  return query->integer(0);
}

std::vector<rows::TableReader::Naming> SqliteTables::naming(std::string_view cluster_id) const {
  const auto entries =
      rows_with<RegistryEntry>(connection_, LeaseStatements::entries_naming(), cluster_id);
  std::vector<Naming> found;
  found.reserve(entries.size());
  for (const RegistryEntry& entry : entries) found.push_back({entry, share(entry.config_hash)});
  return found;
}

std::vector<CachedCluster> SqliteTables::active_clusters() const {
  return all_rows<CachedCluster>(connection_, LeaseStatements::active_clusters());
}

std::optional<CachedCluster> SqliteTables::active_cluster(Timestamp now) const {
  auto query = connection_.prepare(LeaseStatements::active_cluster().c_str());
  query->bind(1, format_timestamp(now));
  return read_row<CachedCluster>(*query);
}

std::vector<PendingTermination> SqliteTables::pending_terminations_of(
    std::string_view config_hash) const {
  return rows_with<PendingTermination>(connection_, LeaseStatements::terminations_of(),
                                       config_hash);
}
std::vector<PendingTermination> SqliteTables::waiting_terminations(
    bool every_host, const std::optional<std::string>& host, std::optional<Timestamp> due_by,
    std::size_t behind, std::size_t limit) const {
  const std::string& sql = every_host ? LeaseStatements::waiting_terminations()
                           : host     ? LeaseStatements::waiting_terminations_of_host()
                                      : LeaseStatements::waiting_terminations_without_host();
  auto query = connection_.prepare(sql.c_str());
  query->bind(1, static_cast<std::int64_t>(behind));
  query->bind(2, static_cast<std::int64_t>(limit));
  query->bind(3, due_by ? std::optional(format_timestamp(*due_by)) : std::nullopt);
  if (!every_host && host) query->bind(4, *host);
  return read_rows<PendingTermination>(*query);
}

std::optional<Participant> SqliteTables::participant(std::int64_t id) const {
  return find_row<Participant>(connection_, id);
}
std::vector<Participant> SqliteTables::participants_of(std::string_view run, Page page) const {
  return page_of<Participant>(connection_, LeaseStatements::participants_of(), run, page);
}
std::vector<std::string> SqliteTables::configurations_of(std::string_view run) const {
  auto query =
      connection_.prepare("SELECT config_hash FROM share_runs WHERE run = ?1 ORDER BY config_hash");
  query->lend(1, run);
  return texts(*query);
}

std::optional<std::string> SqliteTables::progress(std::string_view config_hash,
                                                  std::int64_t creation) const {
  auto query = connection_.prepare(
      "SELECT doing FROM creation_progress WHERE config_hash = ?1 AND creation = ?2");
  query->lend(1, config_hash);
  query->bind(2, creation);
  return query->step() ? std::optional(std::string(query->bytes(0))) : std::nullopt;
}

void SqliteTables::tell_progress(std::string_view config_hash, std::int64_t creation,
                                 std::string_view doing) {
  connection_
      .prepare(
          "DELETE FROM creation_progress AS told WHERE NOT EXISTS (SELECT 1 FROM shares "
          "WHERE config_hash = told.config_hash AND creation = told.creation)")
      ->step();
  auto query = connection_.prepare(
      "INSERT OR REPLACE INTO creation_progress (config_hash, creation, doing) "
      "SELECT ?1, ?2, ?3 WHERE EXISTS "
      "(SELECT 1 FROM shares WHERE config_hash = ?1 AND creation = ?2)");
  query->lend(1, config_hash);
  query->bind(2, creation);
  query->lend(3, doing);
  query->step();
}

std::vector<Lease> SqliteTables::leases_after(Page page) const {
  return readable_page<Lease>(connection_, LeaseStatements::leases_after(), page);
}
std::vector<Participant> SqliteTables::participants_after(Page page) const {
  return readable_page<Participant>(connection_, LeaseStatements::participants_after(), page);
}
std::vector<Share> SqliteTables::busy_shares_after(std::string_view config_hash,
                                                   std::size_t limit) const {
  auto query = connection_.prepare(LeaseStatements::busy_shares_after().c_str());
  query->lend(1, config_hash);
  query->bind(2, std::int64_t{-1});
  return readable_rows<Share>(*query, limit);
}
std::vector<PendingTermination> SqliteTables::running_terminations() const {
  auto query = connection_.prepare(LeaseStatements::running_terminations().c_str());
  return readable_rows<PendingTermination>(*query, std::numeric_limits<std::size_t>::max());
}
std::vector<std::string> SqliteTables::expired_configurations(Timestamp now, std::string_view after,
                                                              std::size_t limit) const {
  auto query = connection_.prepare(LeaseStatements::expired_configurations().c_str());
  query->bind(1, format_timestamp(now));
  query->lend(2, after);
  query->bind(3, static_cast<std::int64_t>(limit));
  return texts(*query);
}

}  // namespace dbcache::store::sqlite
