#pragma once

#include <memory>
#include <string>

#include "support/postgres_server.hpp"

namespace dbcache::test {

/// PgBouncer before a server that outlives it, on a socket of its own.
class PgBouncer {
 public:
  enum class Pooling {
    session,                ///< a client has a session of the server's to itself
    session_without_reset,  ///< and the next one finds it as it was left
    transaction,            ///< only from BEGIN to COMMIT
    statement,              ///< only for one statement
  };

  PgBouncer(const PostgresServer& server, Pooling pooling, int pool_size = 50);

  [[nodiscard]] std::string url(const std::string& database = "postgres") const;

 private:
  ServerDirectory directory_;
  std::unique_ptr<Program> program_;
};

}  // namespace dbcache::test
