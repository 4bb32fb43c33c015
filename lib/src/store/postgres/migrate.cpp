#include "store/postgres/migrate.hpp"

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/migration.hpp"
#include "store/postgres/stream_locks.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {

std::int64_t newest_schema() { return postgres_migrations().back().number; }

std::string name_of(const Target& target) {
  // Quoted for a shell, where an & in a URL has a meaning.
  return fmt::format("'{}' --schema {}", text::redacted_url(target.url), target.schema);
}

SchemaVersion schema_version(Connection& connection, const Target& target) {
  // From the rows of the catalogue, which one statement sees in one snapshot. to_regclass looks
  // each name up anew: it may miss one table and find the next while another process creates both.
  const Result found = connection.ask(
      "WITH tables AS (SELECT relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
      "ON n.oid = c.relnamespace WHERE nspname = $1::text) "
      "SELECT EXISTS (SELECT 1 FROM tables WHERE relname = 'schema_version'), "
      "EXISTS (SELECT 1 FROM tables WHERE relname IN ('events', 'clusters')), "
      "EXISTS (SELECT 1 FROM pg_catalog.pg_namespace "
      "WHERE nspname = $1::text AND NOT has_schema_privilege(oid, 'USAGE'))",
      Values().text(target.schema));
  // A role without USAGE would find nothing, and take the schema for a new one.
  if (found.is_true(0, 2)) {
    throw ServerError("42501", "permission denied for schema " + target.schema);
  }
  if (!found.is_true(0, 0)) {
    if (found.is_true(0, 1)) {
      throw CorruptDatabase(
          fmt::format("the schema {} of the database {} contains tables of another program; give "
                      "another schema",
                      target.schema, text::redacted_url(target.url)));
    }
    return {};
  }
  const Result row = connection.ask("SELECT number, log FROM schema_version");
  const std::int64_t number = row.integer(0, 0);
  if (number > newest_schema()) {
    throw NewerSchema(
        fmt::format("the schema {} of the database {} has version {}, but this dbcache knows "
                    "versions up to {}; "
                    "use the newer dbcache that made it",
                    target.schema, text::redacted_url(target.url), number, newest_schema()));
  }
  return {number, std::string(row.text(0, 1)), name_of(target)};
}

void migrate(Connection& connection, const Target& target) {
  const std::int64_t lock = StreamLocks::number(0, "migrate " + target.schema);
  // Before the transaction: a session learns of other sessions' new tables when a transaction
  // begins.
  connection.ask("SELECT pg_advisory_lock($1::bigint)", Values().integer(lock));
  try {
    connection.queue("BEGIN");
    connection.run();
    // Another process may have migrated it while this one waited.
    const SchemaVersion before = schema_version(connection, target);
    const std::int64_t found = before.number;
    // Transactions of an older dbcache end first: it may number its locks otherwise. Those that
    // begin later find the new version.
    if (found > 0) StreamLocks::lock_everything(connection, StreamLocks::number(0, before.log));
    if (found == 0) {
      // IF NOT EXISTS needs the privilege to create a schema even if there is one.
      const bool exists = connection
                              .ask(
                                  "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE "
                                  "nspname = $1::text)",
                                  Values().text(target.schema))
                              .is_true(0, 0);
      if (!exists) connection.execute_script("CREATE SCHEMA " + quoted_identifier(target.schema));
    }
    for (const Migration& migration : postgres_migrations()) {
      if (migration.number > found) connection.execute_script(migration.sql);
    }
    if (found != newest_schema()) {
      connection.queue("UPDATE schema_version SET number = $1::bigint",
                       Values().integer(newest_schema()));
    }
    connection.queue("COMMIT");
    connection.queue("SELECT pg_advisory_unlock($1::bigint)", Values().integer(lock));
    connection.run();
  } catch (...) {
    if (!connection.is_lost()) {
      connection.queue("ROLLBACK");
      connection.queue("SELECT pg_advisory_unlock($1::bigint)", Values().integer(lock));
      connection.post();
    }
    throw;
  }
}

}  // namespace dbcache::store::postgres
