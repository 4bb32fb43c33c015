#pragma once

#include <cstdint>
#include <string>

#include "store/postgres/connect.hpp"

namespace dbcache::store::postgres {

/// What a schema says of itself.
struct SchemaVersion {
  std::int64_t number = 0;
  std::string log;       ///< Names the log.
  std::string database;  ///< For messages.
};

/// What users see a database called.
std::string name_of(const Target& target);

/// The schema's version; its number is 0 where there is no database of dbcache's yet. Throws
/// NewerSchema for one that a newer dbcache made, and CorruptDatabase for another program's.
SchemaVersion schema_version(Connection& connection, const Target& target);

/// Makes the schema, or brings it to the newest; others may do so at the same time.
void migrate(Connection& connection, const Target& target);

/// The newest schema that this dbcache knows.
std::int64_t newest_schema();

}  // namespace dbcache::store::postgres
