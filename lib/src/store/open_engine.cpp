#include <filesystem>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/engine.hpp"
#include "store/sqlite/sqlite_engine.hpp"
#include "system/environment.hpp"

namespace dbcache::store {
namespace {

constexpr std::string_view documented_location = "Environment/Databricks/cluster_cache.db";

std::string resolve(std::string database) {
  if (database.empty()) database = system::environment_variable("DBCACHE_DATABASE");
  if (database.empty()) database = documented_location;
  if (database.starts_with("postgresql://") || database.starts_with("postgres://")) {
    throw InvalidArgument(
        "this dbcache has no PostgreSQL engine; give the path of a SQLite database");
  }
  if (database == ":memory:" || database.starts_with("file:")) {
    throw InvalidArgument(
        fmt::format("'{}' is not a path; give a file that every process can open", database));
  }
  if (database.find('\0') != std::string::npos) {
    throw InvalidArgument("the database's path holds a NUL character; leave it out");
  }
  // Absolute from now on: a later chdir() must not lead to another database. And with links
  // followed as far as they lead, since SQLite puts its files beside what they lead to.
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
  if (options.busy_timeout < std::chrono::milliseconds{0}) {
    throw InvalidArgument("the busy timeout is negative; give 0 or more");
  }
  return std::make_unique<sqlite::SqliteEngine>(EngineOptions{
      resolve(options.database), options.durability, options.busy_timeout, std::move(adopt)});
}

}  // namespace dbcache::store
