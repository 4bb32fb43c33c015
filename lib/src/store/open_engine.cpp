#include <algorithm>
#include <array>
#include <filesystem>

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/algorithm/string/predicate.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/engine.hpp"
#ifdef DBCACHE_POSTGRES
#include "store/postgres/postgres_engine.hpp"
#endif
#include "store/sqlite/sqlite_engine.hpp"
#include "system/descriptor.hpp"
#include "system/environment.hpp"

namespace dbcache::store {
namespace {

constexpr std::string_view documented_location = "Environment/Databricks/cluster_cache.db";

/// The first of the words that name a server in a string of settings, as libpq (`host=h dbname=d`),
/// ADO or PHP have it.
bool begins_with_setting(std::string_view database) {
  constexpr std::array<std::string_view, 14> names{
      "host",     "hostaddr", "port",    "dbname",   "user",   "password", "service",
      "passfile", "sslmode",  "options", "database", "server", "username", "user id"};
  const std::size_t end = database.find('=');
  if (end == std::string_view::npos) return false;
  const std::string name = boost::algorithm::trim_copy(
      boost::algorithm::to_lower_copy(std::string(database.substr(0, end))));
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// `db.example.com:5432/ci`
bool begins_with_port(std::string_view database) {
  const std::string_view first = database.substr(0, database.find('/'));
  const std::size_t colon = first.rfind(':');
  return first.size() < database.size() && colon != std::string_view::npos && colon > 0 &&
         colon + 1 < first.size() &&
         first.find_first_not_of("0123456789", colon + 1) == std::string_view::npos;
}

bool is_url(std::string_view database) {
  if (database.starts_with("postgresql://") || database.starts_with("postgres://")) return true;
  // Never take a mistyped URL for a file name: it may hold a password.
  const auto begins = [&](std::string_view scheme) {
    return boost::algorithm::istarts_with(database, scheme);
  };
  if (database.find("://") != std::string_view::npos || begins("postgres:") ||
      begins("postgresql:") || begins("jdbc:") || begins("pgsql:") || begins("sqlite:") ||
      begins_with_port(database)) {
    throw InvalidArgument(
        "the database looks like a URL but does not begin with postgresql:// or postgres://; give "
        "a URL that does, or a path");
  }
  if (begins_with_setting(database)) {
    throw InvalidArgument(
        "the database looks like settings of a server (host=... dbname=...); give them as a URL, "
        "postgresql://USER@HOST:PORT/DBNAME?SETTING=VALUE, or begin a path with ./");
  }
  return false;
}

std::string named_database(const Options& options) {
  if (!options.database.empty()) return options.database;
  const std::string database = system::environment_variable("DBCACHE_DATABASE");
  return database.empty() ? std::string(documented_location) : database;
}

std::string schema_of(const Options& options) {
  std::string schema = options.schema;
  if (schema.empty()) schema = system::environment_variable("DBCACHE_SCHEMA");
  if (schema.empty()) schema = "dbcache";
  // PostgreSQL truncates longer names, so two teams could share one schema by mistake.
  constexpr std::size_t most = 63;
  if (schema.size() > most || schema.find('\0') != std::string::npos) {
    throw InvalidArgument(
        fmt::format("the schema name has {} bytes or contains a NUL character; give at most {} "
                    "bytes without NUL",
                    schema.size(), most));
  }
  // The server refuses to create the one, and keeps tables of its own in the other.
  if (schema.starts_with("pg_") || schema == "information_schema") {
    throw InvalidArgument(
        fmt::format("PostgreSQL reserves the schema name {}; give another schema", schema));
  }
  return schema;
}

/// The absolute path of a database in a file.
std::string resolve(const std::string& database) {
  if (database == ":memory:" || database.starts_with("file:")) {
    throw InvalidArgument(
        fmt::format("'{}' is not a path; give a file that every process can open", database));
  }
  if (database.find('\0') != std::string::npos) {
    throw InvalidArgument("the database's path contains a NUL character; remove it");
  }
  // Make it absolute, so that a later chdir() does not lead to another database. Follow links,
  // since SQLite puts its files beside their target.
  std::error_code error;
  const auto absolute = std::filesystem::absolute(database, error);
  if (error) {
    throw StorageFailure(
        fmt::format("the current directory cannot be read ({}); give the database "
                    "as an absolute path",
                    error.message()));
  }
  const auto path = std::filesystem::weakly_canonical(absolute, error);
  return (error ? absolute.lexically_normal() : path).string();
}

}  // namespace

std::unique_ptr<Engine> open_engine(const Options& options, AdoptRows adopt) {
  system::reserve_standard_descriptors();
  if (options.busy_timeout < std::chrono::milliseconds{0}) {
    throw InvalidArgument("the busy timeout is negative; give 0 or more");
  }
  EngineOptions given{named_database(options), schema_of(options),
                      options.durability,      options.busy_timeout,
                      std::move(adopt),        static_cast<bool>(options.clock)};
  if (is_url(given.database)) {
#ifdef DBCACHE_POSTGRES
    return std::make_unique<postgres::PostgresEngine>(std::move(given));
#else
    throw InvalidArgument(
        "this dbcache was built without its PostgreSQL engine (-DDBCACHE_POSTGRES=OFF); give the "
        "path of a SQLite database");
#endif
  }
  given.database = resolve(given.database);
  return std::make_unique<sqlite::SqliteEngine>(std::move(given));
}

}  // namespace dbcache::store
