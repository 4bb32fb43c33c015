#pragma once

#include <optional>
#include <string>

#include "store/engine.hpp"
#include "store/sqlite/connection.hpp"

namespace dbcache::store::sqlite {

/// What stands in a database file.
enum class Content {
  nothing,  ///< A new file, not migrated yet.
  ours,     ///< Everything is there.
  older,    ///< Migrations are to come: an older dbcache's, or the Python system's.
};

/// Looks before anything is changed. Throws NewerSchema for a newer dbcache's database, and
/// CorruptDatabase for another program's.
Content look_into(Connection& connection, const std::string& path);

/// Applies the migrations that are missing, one transaction each; another process may do so at the
/// same time. Returns what was adopted, if rows were found that no log tells of. Throws
/// DatabaseLocked while others are at it.
std::optional<AdoptionReport> migrate(Connection& connection, Timestamp now, const AdoptRows& adopt,
                                      const rows::Liveness& liveness);

/// The newest schema that this dbcache knows.
int newest_schema();

}  // namespace dbcache::store::sqlite
