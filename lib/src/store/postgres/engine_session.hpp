#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "store/postgres/connection.hpp"
#include "store/postgres/postgres_engine.hpp"
#include "store/postgres/stream_locks.hpp"

namespace dbcache::store::postgres {

/// The connection of an engine, and what it knows of the database.
struct PostgresEngine::Session {
  std::unique_ptr<Connection> connection;
  SchemaVersion version;
  std::int64_t space = 0;  ///< For the numbers of locks.
  StreamLocks::Forecast forecast;
};

/// The last attempt before the deadline has failed: no connection, or a conflict that lasted.
[[noreturn]] void throw_unusable(const Target& target, std::string_view reason);

}  // namespace dbcache::store::postgres
