#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "store/postgres/connection.hpp"

namespace dbcache::store::postgres {

/// Where to connect to, and with which settings.
struct Target {
  std::string url;
  std::string schema;
  std::chrono::milliseconds lock_timeout{};
};

/// How soon an idle connection notices that the server is gone.
enum class LossDetection {
  ordinary,
  quick,  ///< Within 6 s: leases depend on it (session_keeper.hpp).
};

/// A connection with the session's settings made. `answers_within`: how long to wait for answers,
/// from the moment that it is connected (see Connection::expect_answers_by). Throws ConnectionLost
/// if another attempt may succeed, else a typed error. Refuses a pooler that runs each transaction
/// in another session (PgBouncer's transaction mode), because that breaks locks of sessions.
std::unique_ptr<Connection> connect(const Target& target, LossDetection detection,
                                    std::chrono::milliseconds answers_within);

/// A name quoted for use in a statement.
std::string quoted_identifier(std::string_view name);

}  // namespace dbcache::store::postgres
