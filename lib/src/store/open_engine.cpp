#include <filesystem>

#include <boost/algorithm/string/predicate.hpp>
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

bool is_url(std::string_view database) {
  if (database.starts_with("postgresql://") || database.starts_with("postgres://")) return true;
  // Never take a mistyped URL for a file name: it may hold a password.
  if (database.find("://") != std::string_view::npos ||
      boost::algorithm::istarts_with(database, "postgres:") ||
      boost::algorithm::istarts_with(database, "postgresql:")) {
    throw InvalidArgument(
        "the database looks like a URL but does not begin with postgresql:// or postgres://; give "
        "a URL that does, or a path");
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
