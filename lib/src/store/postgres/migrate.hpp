#pragma once

#include <cstdint>
#include <string>

#include "store/postgres/connect.hpp"

namespace dbcache::store::postgres {

/// What a schema says about itself.
struct SchemaVersion {
  std::int64_t number = 0;
  std::string log;       ///< Names the log.
  std::string database;  ///< For messages.
};

/// A database's name as users see it.
std::string name_of(const Target& target);

/// The schema's version; its number is 0 if dbcache has no database there yet. Throws NewerSchema
/// if a newer dbcache made the schema, and CorruptDatabase if another program did.
SchemaVersion schema_version(Connection& connection, const Target& target);

/// Creates the schema, or migrates it to the newest version. Other processes may do so at the same
/// time.
void migrate(Connection& connection, const Target& target);

/// The newest schema that this dbcache knows.
std::int64_t newest_schema();

}  // namespace dbcache::store::postgres
