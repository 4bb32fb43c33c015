#include "store/postgres/postgres_engine.hpp"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/postgres/engine_session.hpp"
#include "store/postgres/migrate.hpp"
#include "store/postgres/postgres_event_log.hpp"
#include "store/postgres/postgres_tables.hpp"
#include "store/postgres/session_liveness.hpp"
#include "store/postgres/stream_locks.hpp"
#include "store/postgres/transaction.hpp"
#include "system/logger.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds first_retry_pause{10};
constexpr milliseconds most_retry_pause{1000};
/// Each attempt to connect costs a crowded server a process, even if it is refused. Those of a
/// process whose locks wait to be taken again come sooner.
constexpr milliseconds least_connect_pause{250};
constexpr milliseconds most_connect_pause{2000};

/// Not all of a crowd at once: they would meet again and again.
milliseconds some_of(milliseconds most) {
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<milliseconds::rep> some(most.count() / 2, most.count());
  return milliseconds{some(random)};
}

/// In a transaction of its own: those that notify run one at a time (measured: a third slower).
constexpr std::string_view notify =
    "SELECT pg_notify(channel, '') FROM regexp_split_to_table($1::text, ',') AS channel";

}  // namespace

/// A commit whose outcome is unknown.
struct PostgresEngine::Unknown {
  std::string command_id;  ///< Empty: it may be repeated.
  Connection::Backend backend;
  std::string channels;  ///< That it should have notified.
};

PostgresEngine::PostgresEngine(EngineOptions options)
    : options_(std::move(options)),
      target_{options_.database, options_.schema, options_.busy_timeout},
      keeper_(std::make_shared<SessionKeeper>(target_)),
      session_(std::make_unique<Session>()) {
  static_cast<void>(Libpq::load());
}

PostgresEngine::~PostgresEngine() = default;

PostgresEngine::Moment PostgresEngine::deadline(Patience patience) const {
  // The clock would overflow past this.
  constexpr milliseconds longest = std::chrono::years{100};
  return steady_clock::now() + std::min(patience.value_or(options_.busy_timeout), longest);
}

// ---- The session

void PostgresEngine::with_session(Moment until, Missing missing,
                                  const std::function<void(Session&)>& use) {
  SessionKeeper::Loan loan(*keeper_, until);
  std::string reason;
  bool told = false;
  int stale = 0;
  for (milliseconds pause = first_retry_pause;; pause *= 2) {
    bool is_connected = false;
    try {
      const system::ForkGate::Pass pass;
      Session& session = *session_;
      try {
        session.connection = &loan.session(until);
        is_connected = true;
        if (session.number != loan.number()) {
          session.version = {};
          open(session, missing);
          session.number = loan.number();
        }
        if (session.version.number == 0) look_at_schema(session);
        if (session.version.number == 0 && missing == Missing::create) open(session, missing);
        use(session);
        return loan.tidy();
      } catch (const ConnectionLost&) {
        loan.drop();
        throw;
      } catch (const ServerError& error) {
        if (error.is_conflict()) {
          reason = error.what();
        } else if (error.is_stale() && stale++ == 0) {
          loan.drop();
        } else if (error.is_read_only()) {
          reason = fmt::format("{}; its server takes no writes, as while it is short of disk space",
                               error.what());
        } else {
          throw_typed(error, target_);
        }
      }
    } catch (const ConnectionLost& error) {
      reason = error.what();
    }
    const bool may_take_time = !is_connected && !keeper_->is_held_now();
    pause = may_take_time ? std::clamp(pause, least_connect_pause, most_connect_pause)
                          : std::min(pause, most_retry_pause);
    const milliseconds rest = may_take_time ? some_of(pause) : pause;
    if (steady_clock::now() + rest >= until) throw_unusable(target_, reason);
    if (!told && pause > milliseconds{500}) {
      system::logger()->warn("waiting for the database {}: {}", text::redacted_url(target_.url),
                             reason);
      told = true;
    }
    std::this_thread::sleep_for(rest);
  }
}

void PostgresEngine::open(Session& session, Missing missing) const {
  look_at_schema(session);
  const bool older = session.version.number < newest_schema();
  if (older && (session.version.number > 0 || missing == Missing::create)) {
    const Moment answers_by = session.connection->expect_answers_by(Moment::max());
    migrate(*session.connection, target_);
    session.connection->expect_answers_by(answers_by);
    look_at_schema(session);
  }
}

void PostgresEngine::look_at_schema(Session& session) const {
  session.version = postgres::schema_version(*session.connection, target_);
  session.space = StreamLocks::number(0, session.version.log);
}

// ---- Transactions

void PostgresEngine::write(std::optional<Timestamp> now, const WriteWork& work, Grouping,
                           LockScope scope) {
  std::optional<Unknown> unknown;
  try {
    with_session(deadline(), Missing::create, [&](Session& session) {
      if (unknown && !unknown->command_id.empty() && resolve_outcome(session, *unknown)) return;
      unknown.reset();
      try {
        commit_with_locks(session, now, work, scope);
      } catch (const Unknown& outcome) {
        unknown = outcome;
        throw ConnectionLost("the connection was lost while a commit was under way");
      }
    });
  } catch (const Error& failure) {  // Busy too: to resolve the outcome takes a lock
    if (!unknown) throw;
    throw StorageFailure(
        fmt::format("{}; the last change may have been committed: look before you repeat it",
                    failure.what()),
        StorageFailure::Outcome::unknown);
  }
}

/// With the locks that the work turns out to need: first as it comes to them, then with these in
/// order, and only then with the lock over everything. A look without a lock may come before.
void PostgresEngine::commit_with_locks(Session& session, std::optional<Timestamp> now,
                                       const WriteWork& work, LockScope& scope) {
  for (LockNames first;;) {
    try {
      return commit(session, now, work, scope, first);
    } catch (const NeedsStep& needs) {
      first = {needs.name};
    } catch (const NeedsLocks& needs) {
      const bool took_these_in_order = first.size() > 1;
      if (took_these_in_order) scope = LockScope::everything;
      first = scope == LockScope::everything ? LockNames() : needs.names;
    } catch (const NeedsEverything&) {
      scope = LockScope::everything;
      first.clear();
    }
  }
}

void PostgresEngine::commit(Session& session, std::optional<Timestamp> now, const WriteWork& work,
                            LockScope scope, const LockNames& first) {
  Connection& connection = *session.connection;
  Transaction transaction(connection, session.version, now);
  StreamLocks locks(transaction, session.space, scope, session.forecast);
  const SessionLiveness liveness(transaction, session.version.log, *keeper_);
  PostgresTables tables(transaction, liveness, &locks);
  PostgresEventLog log(transaction, locks);
  bool committing = false;
  std::string channels;
  try {
    transaction.queue("BEGIN");
    locks.begin(first);
    const Sync sync = transaction.run_work([&] {
      WriteSession view{tables, log, liveness, transaction.now()};
      return work(view);
    });
    session.forecast = locks.next_forecast(log.appended());
    if (!tables.changed() && !log.changed()) {
      connection.queue("COMMIT");
      connection.post();
    } else {
      if (options_.durability == Durability::relaxed && sync != Sync::always) {
        connection.queue("SET LOCAL synchronous_commit = off");
      }
      connection.queue("COMMIT");
      static_cast<void>(connection.take_warning());
      channels = keeper_->channels_of(locks.appended_registries());
      committing = true;
      connection.run_and_post(notify, Values().text(channels));
      // The server warns if a wait for a standby was cancelled: the commit is done on the primary
      // only.
      if (connection.take_warning())
        throw Unknown{log.command_id(), connection.backend(), channels};
    }
  } catch (const Unknown&) {
    throw;
  } catch (const ConnectionLost&) {
    if (committing) throw Unknown{log.command_id(), connection.backend(), channels};
    throw;
  } catch (...) {
    if (!connection.is_lost()) {
      connection.queue("ROLLBACK");
      connection.post();
    }
    throw;
  }
  liveness.note_suspects(connection);
}

bool PostgresEngine::resolve_outcome(Session& session, const Unknown& unknown) const {
  Connection& connection = *session.connection;
  // The commit may still be running, or its transaction may wait for the lost client.
  queue_end_of(unknown.backend, connection);
  connection.run();
  connection.queue("BEGIN");
  // Once this transaction has the lock, no attempt is running.
  StreamLocks::lock_everything(connection, session.space);
  const bool done = connection
                        .ask("SELECT EXISTS (SELECT 1 FROM events WHERE command_id = $1::bytea)",
                             Values().bytes(unknown.command_id))
                        .is_true(0, 0);
  // A write, so that this commit waits for the standby, and with it for the commit in question.
  if (done) connection.queue("SELECT pg_logical_emit_message(true, 'dbcache', 'resolved')");
  static_cast<void>(connection.take_warning());
  connection.queue("COMMIT");
  // The notification of that commit was lost with its connection.
  connection.run_and_post(notify, Values().text(unknown.channels));
  if (connection.take_warning()) throw ConnectionLost("no standby has confirmed a commit");
  return done;
}

bool PostgresEngine::read(std::optional<Timestamp> now, const ReadWork& work, Patience patience) {
  bool exists = false;
  with_session(deadline(patience), Missing::leave, [&](Session& session) {
    exists = session.version.number > 0;
    if (exists) read_once(session, now, work);
  });
  return exists;
}

void PostgresEngine::read_once(Session& session, std::optional<Timestamp> now,
                               const ReadWork& work) {
  Connection& connection = *session.connection;
  std::optional<std::int64_t> settled;
  for (;;) {
    Transaction transaction(connection, session.version, now);
    const SessionLiveness liveness(transaction, session.version.log, *keeper_);
    const PostgresTables tables(transaction, liveness);
    const PostgresEventLog log(transaction, settled);
    try {
      transaction.queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
      transaction.run_work([&] { work({tables, log, liveness, transaction.now()}); });
      connection.queue("COMMIT");
      connection.post();
      liveness.note_suspects(connection);
      return;
    } catch (const PostgresEventLog::NeedsSettled&) {
      connection.queue("ROLLBACK");
      connection.run();
      settled = connection.ask("SELECT settled_position()").integer(0, 0);
    } catch (...) {
      if (!connection.is_lost()) {
        connection.queue("ROLLBACK");
        connection.post();
      }
      throw;
    }
  }
}

std::string PostgresEngine::name() const { return name_of(target_); }

std::optional<std::string> PostgresEngine::identity() {
  std::optional<std::string> identity;
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number > 0) identity = fmt::format("postgresql {}", session.version.log);
  });
  return identity;
}

bool PostgresEngine::exists() {
  bool exists = false;
  with_session(deadline(), Missing::leave,
               [&](Session& session) { exists = session.version.number > 0; });
  return exists;
}

Timestamp PostgresEngine::now() {
  Timestamp now{};
  with_session(deadline(), Missing::leave, [&](Session& session) {
    const Result present =
        session.connection->ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    now = Timestamp(std::chrono::microseconds(present.integer(0, 0)));
  });
  return now;
}

// ---- The database as a whole

void PostgresEngine::optimize(Vacuum vacuum) {
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number == 0) return;
    const Moment answers_by = session.connection->expect_answers_by(Moment::max());
    static_cast<void>(session.connection->take_warning());
    for (const char* const table : {"events", "clusters", "shared_cluster_registry", "shares",
                                    "leases", "terminations", "participants", "suspects"}) {
      // One statement at a time: VACUUM cannot run in a transaction.
      session.connection->execute_script(
          fmt::format("{} {}", vacuum == Vacuum::yes ? "VACUUM (ANALYZE)" : "ANALYZE", table));
    }
    session.connection->expect_answers_by(answers_by);
    if (session.connection->take_warning()) {
      system::logger()->warn("the server skipped tables of {}: run optimize as their owner",
                             text::redacted_url(target_.url));
    }
  });
}

DatabaseLocation PostgresEngine::location() const {
  return {text::redacted_url(target_.url), target_.url, target_.schema};
}

DatabaseInfo PostgresEngine::info() {
  DatabaseInfo info;
  info.path = text::redacted_url(target_.url);
  info.name = target_.url;
  info.schema = target_.schema;
  with_session(deadline(), Missing::leave, [&](Session& session) {
    info.exists = session.version.number > 0;
    if (!info.exists) return;
    info.database_size = static_cast<std::uintmax_t>(
        session.connection
            ->ask("SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint "
                  "FROM pg_catalog.pg_class WHERE relkind = 'r' "
                  "AND relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class "
                  "WHERE oid = 'events'::regclass)")
            .integer(0, 0));
  });
  return info;
}

std::int64_t PostgresEngine::schema_version() const { return newest_schema(); }

}  // namespace dbcache::store::postgres
