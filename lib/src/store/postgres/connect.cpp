#include "store/postgres/connect.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/postgres/handshake.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;

/// What a session is like before it is set up.
struct Found {
  Connection::Backend backend;
  bool is_used = false;        ///< It was set up for another client of a pooler.
  std::string read_only_by{};  ///< What makes its transactions read-only by default.

  /// The server's own configuration says so, not that of a role, a database or this client: it is
  /// short of disk space, or a failover is under way.
  [[nodiscard]] bool is_read_only_server() const {
    constexpr std::array<std::string_view, 2> of_server{"configuration file", "command line"};
    return std::find(of_server.begin(), of_server.end(), read_only_by) != of_server.end();
  }
};

/// Asks which session this is. Leaves nothing behind in it: it may be a pooler's, for others. The
/// role that logged in asks: the server hides from any other when the session began. Functions, not
/// the views over them: to plan pg_stat_activity takes a new session 6 ms.
Found look_at_session(Connection& connection, const Target& target) {
  const Result session = connection.execute_script(
      "SET LOCAL ROLE NONE; SET LOCAL statement_timeout = 0; "
      "SELECT pg_backend_pid(), current_setting('server_encoding'), (SELECT "
      "(extract(epoch FROM backend_start) * 1000000)::bigint "
      "FROM pg_catalog.pg_stat_get_activity(pg_backend_pid())), pg_is_in_recovery(), "
      "coalesce(current_setting('dbcache.session', true), ''), "
      "CASE WHEN current_setting('default_transaction_read_only')::boolean THEN (SELECT source "
      "FROM pg_catalog.pg_show_all_settings() WHERE name = 'default_transaction_read_only') END");
  if (session.text(0, 1) != "UTF8") {
    throw StorageFailure(fmt::format("the database {} has the encoding {}; create one with UTF8",
                                     text::redacted_url(target.url), session.text(0, 1)));
  }
  // A standby's rows may be old, and positions and locks are given out by the primary.
  if (session.is_true(0, 3)) {
    throw ConnectionLost(
        "the server is a standby; name the primary, or leave target_session_attrs out of the URL");
  }
  return {{session.integer(0, 0), std::string(session.text(0, 2))},
          !session.text(0, 4).empty(),
          std::string(session.text(0, 5))};
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

void set_up(Connection& connection, const Target& target, const Found& found) {
  // tcp_*: when the server gives up a host that was cut off. The client's own settings do not apply
  // there. A transaction that only waits for its client keeps its locks for five seconds; work that
  // this ends is done again. Both times are short because sessions of a host that was cut off also
  // queue for locks: each that gets one holds off all other sessions until the server gives it up.
  // Other timeouts would end a session by which something lives, perhaps in the hands of a program
  // that inherited it and never speaks.
  // Generic plans: each statement has one good plan, and for some of them planning anew each time
  // takes longer than running them.
  // dbcache.session: a pooler that gives the session to another client without resetting it gives
  // that away.
  std::string script = fmt::format(
      "SET search_path = {}; SET client_min_messages = warning; SET bytea_output = hex; "
      "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET extra_float_digits = 1; "
      "SET standard_conforming_strings = on; SET exit_on_error = off; "
      "SET default_transaction_isolation = 'read committed'; "
      "SET default_transaction_deferrable = off; SET statement_timeout = 0; "
      "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 5000; SET jit = off; "
      "SET plan_cache_mode = force_generic_plan; "
      "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
      "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000; SET dbcache.session = used; "
      "SELECT pg_catalog.set_config(name, '0', false) "
      "FROM (VALUES ('idle_session_timeout'), ('transaction_timeout')) AS timeout (name) "
      "WHERE pg_catalog.current_setting(name, true) IS NOT NULL; "
      "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) "
      "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
      quoted_identifier(target.schema), lock_timeout_of(target).count());
  if (!found.is_read_only_server()) script += "; SET default_transaction_read_only = off";
  connection.execute_script(script);
}

/// A session as it was found, with a server of the URL that takes writes if there is one. After a
/// failover the old primary may be left, read-only.
std::pair<std::unique_ptr<Connection>, Found> find_session(
    const Target& target, std::optional<std::chrono::seconds> host_timeout,
    milliseconds answers_within) {
  const auto find = [&](Wanted wanted) {
    auto connection =
        std::make_unique<Connection>(shake_hands(target, host_timeout, wanted), answers_within);
    Found found = look_at_session(*connection, target);
    return std::pair(std::move(connection), std::move(found));
  };
  auto first = find(Wanted::primary);
  if (!first.second.is_read_only_server() || names_one_host(target)) return first;
  try {
    return find(Wanted::takes_writes);
  } catch (const ConnectionLost&) {
    return first;
  }
}

}  // namespace

milliseconds lock_timeout_of(const Target& target) {
  constexpr milliseconds most{std::numeric_limits<std::int32_t>::max()};
  return std::clamp(target.lock_timeout, milliseconds{1}, most);
}

std::unique_ptr<Connection> connect(const Target& target,
                                    std::optional<std::chrono::seconds> host_timeout,
                                    milliseconds answers_within) {
  auto [connection, found] = find_session(target, host_timeout, answers_within);
  connection->set_backend(found.backend);
  // A pooler tells its clients a process id of its own.
  const bool is_pooled = connection->backend().pid != connection->announced_pid();
  if (is_pooled && !has_session_of_its_own(*connection, target)) {
    throw StorageFailure(fmt::format(
        "{} names a pooler that runs each transaction in another session (PgBouncer's pool_mode = "
        "transaction), which breaks the locks that leases depend on; use pool_mode = session, or "
        "connect to the server directly",
        text::redacted_url(target.url)));
  }
  if (found.is_used) throw_not_reset(target);
  set_up(*connection, target, found);
  return std::move(connection);
}

void queue_end_of(const Connection::Backend& lost, Connection& connection) {
  connection.queue("SELECT pg_catalog.set_config('role', 'none', true)");
  connection.queue(
      "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_get_activity($1::integer) "
      "WHERE (extract(epoch FROM backend_start) * 1000000)::bigint::text = $2::text",
      Values().integer(lost.pid).text(lost.start));
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
