#include "store/postgres/connect.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/postgres/handshake.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;

/// Asks which session this is. Leaves nothing behind in it: it may be a pooler's, for others. The
/// function, not the view over it: to plan that takes a new session 6 ms.
Connection::Backend identify(Connection& connection, const Target& target) {
  const Result session = connection.execute_script(
      "SELECT pg_backend_pid(), current_setting('server_encoding'), (SELECT backend_start::text "
      "FROM pg_catalog.pg_stat_get_activity(pg_backend_pid())), pg_is_in_recovery()");
  if (session.text(0, 1) != "UTF8") {
    throw StorageFailure(fmt::format("the database {} has the encoding {}; create one with UTF8",
                                     text::redacted_url(target.url), session.text(0, 1)));
  }
  // A standby's rows may be old, and positions and locks are given out by the primary.
  if (session.is_true(0, 3)) {
    throw ConnectionLost(
        "the server is a standby; name the primary, or leave target_session_attrs out of the URL");
  }
  return {session.integer(0, 0), std::string(session.text(0, 2))};
}

/// Whether a pooler gives the connection the same session for as long as it lasts.
bool has_session_of_its_own(Connection& connection, const Target& target) {
  const std::string ask_backend = "SELECT pg_backend_pid()";
  constexpr milliseconds soon{1000};
  constexpr milliseconds late{2000};
  constexpr std::chrono::seconds host_timeout{5};
  // During another connection's transaction, this one must have its own session, and the same as
  // before.
  Connection other(shake_hands(target, host_timeout, Wanted::primary), soon);
  std::optional<std::int64_t> others;
  try {
    others = other.execute_script("BEGIN; " + ask_backend).integer(0, 0);
  } catch (const ConnectionLost&) {
    // It is queued, because each session of the pool belongs to some client. If this connection had
    // to queue for each transaction, it would now come after the other.
  }
  const auto before = connection.answers_by();
  connection.expect_answers_by(std::min(before, Connection::Moment::clock::now() + late));
  try {
    const std::int64_t ours = connection.execute_script(ask_backend).integer(0, 0);
    connection.expect_answers_by(before);
    if (others) {
      other.expect_answers_by(before);
      other.execute_script("ROLLBACK");  // a pooler closes a session that is left in a transaction
    }
    return ours == connection.backend().pid && ours != others;
  } catch (const ConnectionLost&) {
    throw ConnectionLost(
        "the pooler has no free session; use pool_mode = session, and a pool that is large enough "
        "for all its clients together");
  }
}

void set_up(Connection& connection, const Target& target) {
  // tcp_*: when the server gives up a host that was cut off. The client's own settings do not apply
  // there. A transaction that only waits for its client keeps its locks for five seconds; work that
  // this ends is done again. Both times are short because sessions of a host that was cut off also
  // queue for locks: each that gets one holds off all other sessions until the server gives it up.
  // Generic plans: each statement has one good plan, and for some of them planning anew each time
  // takes longer than running them.
  connection.execute_script(fmt::format(
      "SET search_path = {}; SET client_min_messages = warning; SET bytea_output = hex; "
      "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; "
      "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 5000; SET jit = off; "
      "SET plan_cache_mode = force_generic_plan; "
      "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
      "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000; "
      "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) "
      "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
      quoted_identifier(target.schema), lock_timeout_of(target).count()));
}

}  // namespace

milliseconds lock_timeout_of(const Target& target) {
  constexpr milliseconds most{std::numeric_limits<std::int32_t>::max()};
  return std::clamp(target.lock_timeout, milliseconds{1}, most);
}

std::unique_ptr<Connection> connect(const Target& target,
                                    std::optional<std::chrono::seconds> host_timeout,
                                    milliseconds answers_within) {
  auto connection = std::make_unique<Connection>(shake_hands(target, host_timeout, Wanted::primary),
                                                 answers_within);
  connection->set_backend(identify(*connection, target));
  // A pooler tells its clients a process id of its own.
  const bool is_pooled = connection->backend().pid != connection->announced_pid();
  if (is_pooled && !has_session_of_its_own(*connection, target)) {
    throw StorageFailure(fmt::format(
        "{} names a pooler that runs each transaction in another session (PgBouncer's pool_mode = "
        "transaction), which breaks the locks that leases depend on; use pool_mode = session, or "
        "connect to the server directly",
        text::redacted_url(target.url)));
  }
  set_up(*connection, target);
  return connection;
}

std::string quoted_identifier(std::string_view name) {
  std::string text = "\"";
  for (const char letter : name) {
    if (letter == '"') text += '"';
    text += letter;
  }
  return text + '"';
}

}  // namespace dbcache::store::postgres
