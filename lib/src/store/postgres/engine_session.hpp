#pragma once

#include <cstdint>

#include "store/postgres/connection.hpp"
#include "store/postgres/postgres_engine.hpp"
#include "store/postgres/stream_locks.hpp"

namespace dbcache::store::postgres {

/// The session of an engine, and what it knows of the database.
struct PostgresEngine::Session {
  Connection* connection = nullptr;
  std::uint64_t number = 0;  ///< Of the keeper's session that it was learned in.
  SchemaVersion version;
  std::int64_t space = 0;  ///< For the numbers of locks.
  StreamLocks::Forecast forecast;
};

}  // namespace dbcache::store::postgres
