#include "store/postgres/server_error.hpp"

#include <chrono>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/postgres/connect.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {

bool ServerError::is_conflict() const { return state_ == "40001" || state_ == "40P01"; }

bool ServerError::is_stale() const {
  return state_ == "42P01" || state_ == "3F000" || state_ == "26000" || state_ == "25006";
}

bool ServerError::is_read_only() const { return state_ == "25006"; }

bool ServerError::is_out_of_locks() const {
  // The server may translate its messages, but not the names of its settings.
  return state_ == "53200" && hint_.find("max_locks_per_transaction") != std::string::npos;
}

void throw_not_reset(const Target& target) {
  throw StorageFailure(fmt::format(
      "{} names a pooler that does not reset a session before another client gets it, so that the "
      "locks of clients that are gone stay; use PgBouncer's server_reset_query = DISCARD ALL, or "
      "connect to the server directly",
      text::redacted_url(target.url)));
}

void throw_unusable(const Target& target, std::string_view reason) {
  throw StorageFailure(
      fmt::format("the database {} could not be used in time: {}; check its server, or raise the "
                  "busy timeout",
                  text::redacted_url(target.url), reason));
}

void throw_typed(const ServerError& error, const Target& target) {
  const std::string database = text::redacted_url(target.url);
  const std::string& state = error.state();
  const std::string what = error.what();
  if (state == "55P03") {
    throw Busy(fmt::format(
        "the database {} stayed locked by another session for {} s; find the session in "
        "pg_locks and pg_stat_activity, or raise the busy timeout",
        database, std::chrono::duration<double>(target.lock_timeout).count()));
  }
  if (state == "42501") {
    throw StorageFailure(
        fmt::format("the role lacks a privilege in the database {}: {}; as the owner, create the "
                    "schema with `dbcache init`, and grant privileges with roles.sql",
                    database, what));
  }
  // Each holder has a lock until it lets go, and each transaction some more.
  if (error.is_out_of_locks()) {
    throw StorageFailure(
        fmt::format("the server of the database {} has no room for more locks ({}); raise "
                    "max_locks_per_transaction and restart it, or hold fewer leases at a time",
                    database, what));
  }
  // Statements that another client prepared.
  if (state == "42P05") throw_not_reset(target);
  if (state == "42939") {
    throw InvalidArgument(fmt::format(
        "PostgreSQL reserves the schema name {} ({}); give another schema", target.schema, what));
  }
  if (state.starts_with("23") || state.starts_with("XX") || state.starts_with("42")) {
    throw CorruptDatabase(fmt::format(
        "the database {} is not what dbcache wrote: {}; run `dbcache verify` to list what "
        "is wrong",
        database, what));
  }
  throw StorageFailure(fmt::format("the database {} failed: {} ({})", database, what, state));
}

}  // namespace dbcache::store::postgres
