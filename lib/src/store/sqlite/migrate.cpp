#include "store/sqlite/migrate.hpp"

#include <sqlite3.h>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "rows/fields.hpp"
#include "rows/rows.hpp"
#include "store/migration.hpp"
#include "store/sqlite/sqlite_event_log.hpp"
#include "store/sqlite/sqlite_tables.hpp"

namespace dbcache::store::sqlite {
namespace {

/// "dbca", in the database's header (https://www.sqlite.org/pragma.html#pragma_application_id).
constexpr int application_id = 0x64626361;

/// The migration that makes the log. Rows from before it become events.
constexpr int log_migration = 2;

bool has_table(Connection& connection, std::string_view name) {
  auto query = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1");
  query->bind(1, name);
  return query->step();
}

bool has_column(Connection& connection, std::string_view table, std::string_view column) {
  auto query =
      connection.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE");
  query->bind(1, table);
  query->bind(2, column);
  return query->step();
}

/// A column that came with the registry: a database of the Python system's first versions has
/// neither.
constexpr std::string_view column_of_sharing = "is_shared";

template <class Row>
void require_columns(Connection& connection, std::string_view table, const std::string& path) {
  rows::for_each_member<Row>([&](auto column) {
    if (has_column(connection, table, column.name)) return;
    if (column.name == column_of_sharing && !has_table(connection, rows::registry_table)) return;
    throw CorruptDatabase(
        fmt::format("the tables of the database {} are not the documented ones (no such column: "
                    "{}.{}); give another path",
                    path, table, column.name));
  });
}

/// Without a log the tables may belong to another program that has the same names for them.
void require_documented_columns(Connection& connection, const std::string& path) {
  require_columns<CachedCluster>(connection, rows::clusters_table, path);
  if (!has_table(connection, rows::registry_table)) return;
  require_columns<RegistryEntry>(connection, rows::registry_table, path);
}

/// What the Python system's last version has and its first ones had not, apart from the registry,
/// which a migration makes.
void complete_documented_columns(Connection& connection) {
  if (!has_table(connection, rows::clusters_table) ||
      has_column(connection, rows::clusters_table, column_of_sharing)) {
    return;
  }
  connection.execute("ALTER TABLE clusters ADD COLUMN is_shared BOOLEAN DEFAULT 0");
}

std::optional<AdoptionReport> adopt_rows(Connection& connection, Timestamp now,
                                         const AdoptRows& adopt, const rows::Liveness& liveness) {
  SqliteTables tables(connection);
  SqliteEventLog log(connection);
  const rows::DocumentedRows rows = tables.documented_rows();
  if (rows.clusters.empty() && rows.entries.empty()) return std::nullopt;
  WriteSession session{tables, log, liveness, now};
  return adopt(session, rows);
}

}  // namespace

int newest_schema() { return sqlite_migrations().back().number; }

Content look_into(Connection& connection, const std::string& path) {
  // One view for all questions: another process may be migrating the database just now.
  const SQLite::Transaction view(connection.database());
  const std::int64_t application = connection.integer("PRAGMA application_id");
  const std::int64_t schema = connection.integer("PRAGMA user_version");
  const bool empty = connection.integer("SELECT count(*) FROM sqlite_schema") == 0;
  if (application == application_id) {
    if (schema > newest_schema()) {
      throw NewerSchema(fmt::format(
          "the database {} has schema {}, and this dbcache knows up to {}; use the newer dbcache "
          "that made it",
          path, schema, newest_schema()));
    }
    return schema == newest_schema() ? Content::ours : Content::older;
  }
  if (application == 0 && schema == 0) {
    if (empty) return Content::nothing;
    if (has_table(connection, "clusters") && !has_table(connection, "events")) {
      require_documented_columns(connection, path);
      return Content::older;
    }
  }
  throw CorruptDatabase(
      fmt::format("{} is a SQLite database of another program; give another path", path));
}

std::optional<AdoptionReport> migrate(Connection& connection, Timestamp now, const AdoptRows& adopt,
                                      const rows::Liveness& liveness) {
  std::optional<AdoptionReport> report;
  SQLite::Transaction transaction(connection.database(), SQLite::TransactionBehavior::IMMEDIATE);
  // Another process may have migrated it while this one waited for the lock.
  const std::int64_t found = connection.integer("PRAGMA user_version");
  if (found < log_migration) complete_documented_columns(connection);
  for (const Migration& migration : sqlite_migrations()) {
    if (migration.number > found) connection.execute(migration.sql);
  }
  // Only now, since projecting the rows needs every table.
  if (found < log_migration) report = adopt_rows(connection, now, adopt, liveness);
  if (found < newest_schema()) {
    connection.execute(fmt::format("PRAGMA user_version = {}; PRAGMA application_id = {}",
                                   newest_schema(), application_id)
                           .c_str());
  }
  transaction.commit();
  return report;
}

}  // namespace dbcache::store::sqlite
