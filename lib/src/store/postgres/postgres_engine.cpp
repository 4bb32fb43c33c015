#include "store/postgres/postgres_engine.hpp"

#include <algorithm>
#include <deque>
#include <new>
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

/// The server itself ends a wait for a lock after the busy timeout. If no answer has come so much
/// later, the server is out of reach or hangs.
constexpr milliseconds slack_of_answers{2000};
constexpr milliseconds longest_wait = std::chrono::years{1};

/// How long the session keeper waits for one of its own locks, which a lost session may still have.
constexpr milliseconds lock_timeout_of_keeper{3000};

}  // namespace

/// A commit whose outcome is unknown.
struct PostgresEngine::Unknown {
  std::string command_id;  ///< Empty: it may be repeated.
  Connection::Backend backend;
};

void throw_unusable(const Target& target, std::string_view reason) {
  throw StorageFailure(
      fmt::format("the database {} could not be used in time: {}; check its server, or raise the "
                  "busy timeout",
                  text::redacted_url(target.url), reason));
}

/// The use of the connection by one thread. Threads get it in the order in which they ask.
class PostgresEngine::Loan {
 public:
  Loan(PostgresEngine& engine, Moment until) : engine_(engine) {
    const Moment began = steady_clock::now();
    std::unique_lock lock(engine_.mutex_);
    const std::uint64_t ticket = engine_.next_ticket_++;
    engine_.waiting_.push_back(ticket);
    const bool mine =
        engine_.freed_.wait_until(lock, until, [&] { return engine_.waiting_.front() == ticket; });
    if (mine) return;
    std::erase(engine_.waiting_, ticket);
    throw Busy(fmt::format(
        "other threads of this process kept the connection to {} busy for {} s; raise the busy "
        "timeout, or use fewer threads",
        text::redacted_url(engine_.target_.url),
        std::chrono::duration<double>(std::chrono::round<milliseconds>(until - began)).count()));
  }
  ~Loan() {
    {
      const std::lock_guard lock(engine_.mutex_);
      // Empty in a forked child.
      if (!engine_.waiting_.empty()) engine_.waiting_.pop_front();
    }
    engine_.freed_.notify_all();
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

 private:
  PostgresEngine& engine_;
};

PostgresEngine::PostgresEngine(EngineOptions options)
    : options_(std::move(options)),
      target_{options_.database, options_.schema, options_.busy_timeout},
      keeper_(std::make_shared<SessionKeeper>(
          Target{options_.database, options_.schema, lock_timeout_of_keeper})),
      session_(std::make_unique<Session>()) {
  static_cast<void>(Libpq::load());
  system::ForkGate::instance().enroll(*this);
}

PostgresEngine::~PostgresEngine() {
  if (system::ForkGate::instance().closed_to_this_process()) {
    static_cast<void>(session_.release());
  } else {
    const system::ForkGate::Pass pass;
    session_.reset();
  }
  system::ForkGate::instance().withdraw(*this);
}

PostgresEngine::Moment PostgresEngine::deadline(Patience patience) const {
  // The clock would overflow past this.
  constexpr milliseconds longest = std::chrono::years{100};
  return steady_clock::now() + std::min(patience.value_or(options_.busy_timeout), longest);
}

// ---- The connection

void PostgresEngine::with_session(Moment until, Missing missing,
                                  const std::function<void(Session&)>& use) {
  const Loan loan(*this, until);
  std::string reason;
  bool told = false;
  int stale = 0;
  for (milliseconds pause = first_retry_pause;; pause = std::min(2 * pause, most_retry_pause)) {
    try {
      const system::ForkGate::Pass pass;
      Session& session = *session_;
      try {
        const bool is_new = !session.connection || session.connection->is_lost();
        if (is_new) {
          const auto left = std::chrono::ceil<milliseconds>(until - Moment::clock::now());
          session.connection = connect(target_, LossDetection::ordinary,
                                       std::clamp(left, {}, longest_wait) + slack_of_answers);
        } else {
          session.connection->expect_answers_by(until + slack_of_answers);
        }
        if (is_new) open(session, missing);
        if (session.version.number == 0) look_at_schema(session);
        if (session.version.number == 0 && missing == Missing::create) open(session, missing);
        return use(session);
      } catch (const ConnectionLost&) {
        session.connection.reset();
        throw;
      } catch (const ServerError& error) {
        if (error.is_conflict()) {
          reason = error.what();
        } else if (error.is_stale() && stale++ == 0) {
          session.connection.reset();
        } else {
          throw_typed(error, target_);
        }
      }
    } catch (const ConnectionLost& error) {
      reason = error.what();
    }
    if (steady_clock::now() + pause >= until) throw_unusable(target_, reason);
    if (!told && pause > milliseconds{500}) {
      system::logger()->warn("waiting for the database {}: {}", text::redacted_url(target_.url),
                             reason);
      told = true;
    }
    std::this_thread::sleep_for(pause);
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
/// order, and only then with the lock over everything.
void PostgresEngine::commit_with_locks(Session& session, std::optional<Timestamp> now,
                                       const WriteWork& work, LockScope& scope) {
  for (LockNames first;;) {
    try {
      return commit(session, now, work, scope, first);
    } catch (const NeedsLocks& needs) {
      if (!first.empty()) scope = LockScope::everything;
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
  const SessionLiveness liveness(transaction, session.version.log);
  PostgresTables tables(transaction, liveness, &locks);
  PostgresEventLog log(transaction, locks);
  bool committing = false;
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
      committing = true;
      // In a transaction of its own: those that notify run one at a time (measured: a third
      // slower).
      connection.run_and_post("SELECT pg_notify($1::text, '')", Values().text(keeper_->channel()));
      // The server warns if a wait for a standby was cancelled: the commit is done on the primary
      // only.
      if (connection.take_warning()) throw Unknown{log.command_id(), connection.backend()};
    }
  } catch (const Unknown&) {
    throw;
  } catch (const ConnectionLost&) {
    if (committing) throw Unknown{log.command_id(), connection.backend()};
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
  connection.queue(
      "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
      "WHERE pid = $1::integer AND backend_start::text = $2::text",
      Values().integer(unknown.backend.pid).text(unknown.backend.start));
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
  connection.run_and_post("SELECT pg_notify($1::text, '')", Values().text(keeper_->channel()));
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
    const SessionLiveness liveness(transaction, session.version.log);
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

// ---- Around a fork

void PostgresEngine::before_fork(Users) { mutex_.lock(); }

void PostgresEngine::after_fork_in_parent() { mutex_.unlock(); }

void PostgresEngine::after_fork_in_child() {
  // The child has none of the threads, and the connection is the parent's.
  static_cast<void>(session_.release());
  session_ = std::make_unique<Session>();
  waiting_.clear();
  new (&freed_) std::condition_variable;
  mutex_.unlock();
}

// ---- The database as a whole

void PostgresEngine::optimize(Vacuum vacuum) {
  with_session(deadline(), Missing::leave, [&](Session& session) {
    if (session.version.number == 0) return;
    session.connection->expect_answers_by(Moment::max());
    static_cast<void>(session.connection->take_warning());
    for (const char* const table : {"events", "clusters", "shared_cluster_registry", "shares",
                                    "leases", "terminations", "participants", "suspects"}) {
      // One statement at a time: VACUUM cannot run in a transaction.
      session.connection->execute_script(
          fmt::format("{} {}", vacuum == Vacuum::yes ? "VACUUM (ANALYZE)" : "ANALYZE", table));
    }
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
