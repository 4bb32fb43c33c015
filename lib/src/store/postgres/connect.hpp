#pragma once

#include <chrono>
#include <memory>
#include <optional>
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

/// The lock timeout that the server is given.
std::chrono::milliseconds lock_timeout_of(const Target& target);

/// A connection with the session's settings made. `host_timeout`: for each host of the URL, unless
/// that says otherwise; without one 2 s, whatever the URL says, because locks wait to be taken
/// again, and then a name that nobody knows may be known later. `answers_within`: how long to wait
/// for answers, from the moment that it is connected (see Connection::expect_answers_by). An idle
/// connection notices within 6 s that its server is out of reach: leases depend on that
/// (session_keeper.hpp). Throws ConnectionLost if another attempt may succeed, else a typed error.
/// Refuses a pooler that runs each transaction in another session (PgBouncer's transaction mode),
/// because that breaks locks of sessions.
std::unique_ptr<Connection> connect(const Target& target,
                                    std::optional<std::chrono::seconds> host_timeout,
                                    std::chrono::milliseconds answers_within);

/// Queues the end of a session that its client has lost, unless it has ended. In the same message
/// only statements may follow that need no privilege: the role that logged in runs them, because no
/// other may end its sessions.
void queue_end_of(const Connection::Backend& lost, Connection& connection);

/// Whether the URL names one host. Without a name, variables or a service file may name several.
bool names_one_host(const Target& target);

/// A name quoted for use in a statement.
std::string quoted_identifier(std::string_view name);

}  // namespace dbcache::store::postgres
