#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/options.hpp>
#include <dbcache/time.hpp>

#include "rows/documented_rows.hpp"
#include "rows/event_name.hpp"
#include "rows/present.hpp"
#include "rows/tables.hpp"
#include "store/closed_log.hpp"
#include "store/event_record.hpp"

// The interface of an engine: transactions, the rows of the log and the tables, liveness, waking,
// the clock. What is the same on every engine (hashes, versions, projecting, replay) is built on
// it.
namespace dbcache::store {

/// The end of a stream, where the next event is appended.
struct StreamEnd {
  std::int64_t version = 0;  ///< 0: there is no such stream yet.
  std::string hash;          ///< Of its last event; empty if there is none.
};

/// How far a log is read in order of position.
enum class Extent {
  /// Up to the settled position, below which no event will ever appear. Engines on which several
  /// transactions append at once keep back the events behind an open one.
  settled,
  visible,  ///< All events of this view, exactly those that its tables reflect.
};

/// Where a command's events go.
struct AppendPoint {
  std::int64_t position = 0;    ///< Of the first event; the others follow without a gap.
  std::vector<StreamEnd> ends;  ///< Of the requested streams, in their order.
};

/// What an event's name is made of.
struct EventFact {
  std::int64_t position = 0;
  std::string type;
  std::string hash;
};

class EventLogReader : public rows::EventNames {
 public:
  /// The highest position; 0 in an empty log.
  [[nodiscard]] virtual std::int64_t last_position() const = 0;

  /// How many events there are.
  [[nodiscard]] virtual std::int64_t size() const = 0;

  /// At most `limit` events in order, after a position or version.
  [[nodiscard]] std::vector<EventRecord> read(std::int64_t after_position, std::size_t limit,
                                              Extent extent = Extent::settled) const {
    std::vector<EventRecord> events;
    read_into(events, after_position, limit, extent);
    return events;
  }
  /// The same, but replaces the contents of `events` and reuses their memory: a pass over the whole
  /// log would otherwise allocate seven strings an event.
  virtual void read_into(std::vector<EventRecord>& events, std::int64_t after_position,
                         std::size_t limit, Extent extent) const = 0;
  [[nodiscard]] virtual std::vector<EventRecord> read_stream(std::string_view stream,
                                                             std::int64_t after_version,
                                                             std::size_t limit) const = 0;

  /// Up to this position, numbers may be missing between events: transactions that failed or were
  /// rolled back had drawn them.
  [[nodiscard]] virtual std::int64_t gaps_until() const = 0;

  /// Why nobody may append; nothing if the log is open.
  [[nodiscard]] virtual std::optional<ClosedLog> closed() const = 0;

  [[nodiscard]] std::vector<rows::LoggedEvent> events_at(
      const std::vector<std::int64_t>& positions) const final;

  /// The events at these positions, in order of position.
  [[nodiscard]] virtual std::vector<EventFact> facts_at(
      const std::vector<std::int64_t>& positions) const = 0;
  /// A caller will ask for the event at this position: an engine may read it with what is foreseen
  /// of the tables.
  virtual void foresee_event(std::int64_t /*position*/) const {}

  /// Random, made with the log, and carried along when it is moved.
  [[nodiscard]] virtual std::string incarnation() const = 0;

  /// The registry streams with an event that names this cluster.
  [[nodiscard]] virtual std::vector<std::string> streams_naming(
      std::string_view cluster_id) const = 0;
};

class EventLog : public EventLogReader {
 public:
  /// Reserves positions for this many events of these streams. Nobody else appends to these streams
  /// until the transaction has ended.
  [[nodiscard]] virtual AppendPoint begin_append(const std::vector<std::string>& streams,
                                                 std::size_t events) = 0;

  /// Adds an event as it is. Refuses a position or version that is taken. Throws DatabaseMoved if
  /// the log is closed.
  virtual void append(const EventRecord& record) = 0;

  /// Closes the log until open(): nobody appends, not even this transaction. No concurrent
  /// transaction that appends commits after it. Replaces an earlier `closed`.
  virtual void close(const ClosedLog& closed) = 0;

  /// Opens the log again. If close() follows in the same transaction, only this transaction can
  /// append in between.
  virtual void open() = 0;

  /// Makes this log the one that has this incarnation. From the next transaction on.
  virtual void set_incarnation(std::string_view incarnation) = 0;

  /// Allows gaps up to this position, for a log from an engine that leaves gaps. Does nothing on
  /// engines that allow gaps anywhere.
  virtual void set_gaps_until(std::int64_t position) = 0;
};

struct ReadSession {
  const rows::TableReader& tables;
  const EventLogReader& log;
  const rows::Liveness& liveness;  ///< Which holders live. Never waits.
  Timestamp now;
};

struct WriteSession {
  rows::Tables& tables;
  EventLog& log;
  const rows::Liveness& liveness;
  Timestamp now;
};

/// Identifies a committed state of a database: while it stays the same, so does what a read
/// returns.
using StateId = std::array<std::uint64_t, 9>;

/// When a commit must be on disk.
enum class Sync {
  as_configured,
  always,  ///< On disk before the call returns, whatever `Durability` says.
};

/// The lock by which others see that this process lives: of the kernel, or of the server. It ends
/// when this object is destroyed. It also ends when the process dies, unless a child inherited the
/// descriptor. In a forked child this object holds nothing.
class LifeLock {
 public:
  LifeLock() = default;
  LifeLock(const LifeLock&) = delete;
  LifeLock& operator=(const LifeLock&) = delete;
  virtual ~LifeLock() = default;

  /// The holder as events record it.
  [[nodiscard]] virtual const rows::Holder& holder() const = 0;

  /// Wakes the processes that wait for this holder's creation or check. The holder still counts as
  /// alive.
  virtual void done() = 0;

  /// Whether this process could not keep the lock. What it held is lost, or soon will be.
  [[nodiscard]] virtual bool lost() const { return false; }

  /// Whether this process cannot show others at the moment that it lives. They wait for a while
  /// before they count it as dead.
  [[nodiscard]] virtual bool in_doubt() const { return false; }

  /// The descriptor that a child process inherits to hold the lock too; -1 if the engine has none.
  [[nodiscard]] virtual int descriptor() const = 0;
};

/// A descriptor for poll(2) that is readable once the awaited event has happened.
class Wakeup {
 public:
  Wakeup() = default;
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  virtual ~Wakeup() = default;

  /// -1 if the event cannot be awaited here: check now and then instead.
  [[nodiscard]] virtual int descriptor() const = 0;

  /// Makes the descriptor ready for the next event.
  virtual void clear() = 0;
};

/// For an event that cannot be awaited.
class NoWakeup final : public Wakeup {
 public:
  [[nodiscard]] int descriptor() const override { return -1; }
  void clear() override {}
};

/// Work inside a transaction. It may run again from the start if the engine had to roll it back. It
/// must not call user code: it holds a connection, and a fork waits for it.
using ReadWork = std::function<void(const ReadSession&)>;
using WriteWork = std::function<Sync(WriteSession&)>;

/// Called inside the transaction that gives an older database its log.
using AdoptRows = std::function<AdoptionReport(WriteSession&, const rows::DocumentedRows&)>;

/// Thread-safe. `now` overrides the engine's clock.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  /// Runs `work` in one write transaction: commits when it returns, rolls back when it throws.
  /// Unless `alone`, work of other threads may run before it in the same transaction, and all of it
  /// may run again after a failed attempt. Creates the database if there is none.
  enum class Grouping { grouped, alone };
  /// What the work may touch, as far as the caller knows. If an engine locks only streams, and the
  /// work turns out to need everything, it runs the work again.
  enum class LockScope { streams, everything };
  virtual void write(std::optional<Timestamp> now, const WriteWork& work,
                     Grouping grouping = Grouping::grouped,
                     LockScope scope = LockScope::everything) = 0;

  /// Runs `work` on one consistent view. Returns false without running it if there is no database
  /// yet. `patience` replaces the busy timeout: how long to wait for a database that is out of
  /// reach.
  using Patience = std::optional<std::chrono::milliseconds>;
  virtual bool read(std::optional<Timestamp> now, const ReadWork& work,
                    Patience patience = std::nullopt) = 0;

  /// The state that a read would see now; nothing if it takes a transaction to find out.
  [[nodiscard]] virtual std::optional<StateId> state() = 0;

  /// Whether there is a database to read.
  [[nodiscard]] virtual bool exists() = 0;

  /// The name of the database for users: the value of `--database` without a password, and on
  /// engines with schemas `--schema` too. Works without a connection, so also inside a transaction.
  [[nodiscard]] virtual std::string name() const = 0;

  /// Identifies the database under all its names. Nothing if it does not exist yet.
  [[nodiscard]] virtual std::optional<std::string> identity() = 0;

  /// The engine's clock.
  [[nodiscard]] virtual Timestamp now() = 0;

  /// Takes a new lock. Creates the files that it needs beside the database.
  [[nodiscard]] virtual std::unique_ptr<LifeLock> take_lock() = 0;

  /// Wakes when this holder is done, or dead.
  [[nodiscard]] virtual std::unique_ptr<Wakeup> watch_holder(const rows::Holder& holder) = 0;

  /// Wakes after commits of any process: at least those that append to the registry stream of a
  /// configuration, or without one, all. One commit may wake several times, or several commits
  /// once. It may miss a commit before this call returns, so read after the call.
  [[nodiscard]] virtual std::unique_ptr<Wakeup> watch_commits(
      std::optional<std::string_view> config_hash) = 0;

  /// Whether the server has little room left for sessions of other processes. Then one who waits
  /// should not keep a session meanwhile: those whose turn it is may need it.
  [[nodiscard]] virtual bool is_crowded() = 0;
  /// Closes the session unless this process holds or awaits something. Returns whether there is
  /// none now. The next call opens one.
  virtual bool close_idle() = 0;

  /// Whether this process should sweep now: true for one caller a second among all processes of
  /// this database, later if a sweep was postponed. False if there is no database, and for so long
  /// as the sweep is not `overdue` by that time.
  [[nodiscard]] virtual bool claim_sweep(std::chrono::nanoseconds overdue = {}) = 0;
  /// After a sweep that was given so many holders: the next one is not due before that time has
  /// passed, a minute at most.
  virtual void swept(std::chrono::nanoseconds pause, std::size_t holders) = 0;

  virtual void optimize(Vacuum vacuum) = 0;

  /// Everything that is known without reading the database.
  [[nodiscard]] virtual DatabaseInfo info() = 0;

  /// The part of info() that needs no look at the files or the server.
  [[nodiscard]] virtual DatabaseLocation location() const = 0;

  /// The schema version of the database after it was read or written.
  [[nodiscard]] virtual std::int64_t schema_version() const = 0;

  [[nodiscard]] virtual std::optional<AdoptionReport> adoption() const = 0;
};

struct EngineOptions {
  std::string database;  ///< Resolved: an absolute path, or a URL.
  std::string schema;    ///< Where a server keeps it.
  Durability durability = Durability::full;
  std::chrono::milliseconds busy_timeout{};
  AdoptRows adopt;
  bool has_clock_of_caller = false;  ///< Whether `now` of each transaction is the caller's.
};

/// The engine for a database as users name it; an empty name means the default. Opens nothing yet.
/// Throws InvalidArgument if no engine can open it.
std::unique_ptr<Engine> open_engine(const Options& options, AdoptRows adopt);

}  // namespace dbcache::store
