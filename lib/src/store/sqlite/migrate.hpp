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
  older,    ///< It needs migrations: an older dbcache's, or the Python system's.
};

/// Call it before anything is changed. Throws NewerSchema for a newer dbcache's database, and
/// CorruptDatabase for another program's.
Content look_into(Connection& connection, const std::string& path);

/// Applies the missing migrations in one transaction. Another process may do so at the same time.
/// Returns a report where it found rows without a log and adopted them. Fails with SQLITE_BUSY
/// while another process writes.
std::optional<AdoptionReport> migrate(Connection& connection, Timestamp now, const AdoptRows& adopt,
                                      const rows::Liveness& liveness);

/// The newest schema that this dbcache knows.
int newest_schema();

}  // namespace dbcache::store::sqlite
