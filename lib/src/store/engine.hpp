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
#include "rows/present.hpp"
#include "rows/tables.hpp"
#include "store/closure.hpp"
#include "store/event_record.hpp"

// What an engine does in its own way: transactions, the log's rows, the tables' rows, liveness,
// waking, the clock.
// Whatever is the same on every engine (hashes, versions, projecting, replay) is above this line.
namespace dbcache::store {

/// The end of a stream, where the next event is appended.
struct StreamEnd {
  std::int64_t version = 0;  ///< 0: there is no such stream yet.
  std::string hash;          ///< Of its last event; empty where there is none.
};

/// How far a log is read in order of position.
enum class Extent {
  /// Only to where no event will ever come to stand before one that was read. Engines on which
  /// transactions that append run beside each other keep back what stands behind an open one.
  settled,
  visible,  ///< All that this view has: what its tables tell of, no more and no less.
};

/// Where a command's events go.
struct AppendPoint {
  std::int64_t position = 0;    ///< Of the first; the others follow it without a gap.
  std::vector<StreamEnd> ends;  ///< Of the streams that were asked for, in their order.
};

class EventLogReader {
 public:
  EventLogReader() = default;
  EventLogReader(const EventLogReader&) = delete;
  EventLogReader& operator=(const EventLogReader&) = delete;
  virtual ~EventLogReader() = default;

  /// The highest position; 0 in an empty log.
  [[nodiscard]] virtual std::int64_t last_position() const = 0;

  /// How many events there are.
  [[nodiscard]] virtual std::int64_t size() const = 0;

  /// At most `limit` events in order, from after a position or version on.
  [[nodiscard]] std::vector<EventRecord> read(std::int64_t after_position, std::size_t limit,
                                              Extent extent = Extent::settled) const {
    std::vector<EventRecord> events;
    read_into(events, after_position, limit, extent);
    return events;
  }
  /// The same into `events`, in place of what is there, whose memory is used again: a pass over the
  /// whole log would allocate seven strings an event.
  virtual void read_into(std::vector<EventRecord>& events, std::int64_t after_position,
                         std::size_t limit, Extent extent) const = 0;
  [[nodiscard]] virtual std::vector<EventRecord> read_stream(std::string_view stream,
                                                             std::int64_t after_version,
                                                             std::size_t limit) const = 0;

  /// Up to this position numbers may be missing between events: of transactions
  /// that were undone, or came to nothing.
  [[nodiscard]] virtual std::int64_t gaps_until() const = 0;

  /// Why nobody may append; nothing where they may.
  [[nodiscard]] virtual std::optional<Closure> closure() const = 0;

  /// The registry streams with an event that names this cluster.
  [[nodiscard]] virtual std::vector<std::string> streams_naming(
      std::string_view cluster_id) const = 0;
};

class EventLog : public EventLogReader {
 public:
  /// Room for so many events, which belong to these streams; nobody else appends to those until the
  /// transaction has ended.
  [[nodiscard]] virtual AppendPoint begin_append(const std::vector<std::string>& streams,
                                                 std::size_t events) = 0;

  /// Adds an event as it is. A position or a version that is taken already is refused. Throws
  /// DatabaseMoved where the log is closed.
  virtual void append(const EventRecord& record) = 0;

  /// Nobody appends any more, in this transaction neither, until open(); of transactions that are
  /// appending beside this one none commits after it. In place of the closure before, if any.
  virtual void close(const Closure& closure) = 0;

  /// Ends that. What was appended between open() and close() is committed with the log closed to
  /// all others.
  virtual void open() = 0;

  /// Numbers may be missing up to there, in a log that came from an engine that leaves some. Does
  /// nothing on engines on which they may be missing anywhere.
  virtual void set_gaps_until(std::int64_t position) = 0;
};

struct ReadSession {
  const rows::TableReader& tables;
  const EventLogReader& log;
  const rows::Liveness& liveness;  ///< Who lives, without waiting.
  Timestamp now;
};

struct WriteSession {
  rows::Tables& tables;
  EventLog& log;
  const rows::Liveness& liveness;
  Timestamp now;
};

/// Names one committed state of one database: reading gives the same as long as it is the same.
using StateId = std::array<std::uint64_t, 9>;

/// How a commit is to be kept.
enum class Sync {
  as_configured,
  always,  ///< On disk before the call returns, whatever `Durability` says.
};

/// A lock of the kernel's (of the server's, on another engine) by which a process says that it
/// lives: let go when this is destroyed, or when the process dies and nobody inherited the
/// descriptor. In a forked child it is nothing.
class LifeLock {
 public:
  LifeLock() = default;
  LifeLock(const LifeLock&) = delete;
  LifeLock& operator=(const LifeLock&) = delete;
  virtual ~LifeLock() = default;

  /// As the log tells it.
  [[nodiscard]] virtual const rows::Holder& holder() const = 0;

  /// Ends the part of the lock that those wait for who wait for what is being done (a creation, a
  /// check): the lock itself stays.
  virtual void done() = 0;

  /// Whether this process could not keep it: what it stood for is lost, or about to be.
  [[nodiscard]] virtual bool lost() const { return false; }

  /// Whether this process cannot tell others at the moment that it lives: they wait for a while.
  [[nodiscard]] virtual bool in_doubt() const { return false; }

  /// What a child process inherits to hold it too; -1 where an engine has none.
  [[nodiscard]] virtual int descriptor() const = 0;
};

/// Something to poll(2) for: readable once what was waited for has happened.
class Wakeup {
 public:
  Wakeup() = default;
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  virtual ~Wakeup() = default;

  /// -1: it cannot be waited for here; ask now and then.
  [[nodiscard]] virtual int descriptor() const = 0;

  /// Makes it ready for the next time.
  virtual void clear() = 0;
};

/// For what cannot be waited for.
class NoWakeup final : public Wakeup {
 public:
  [[nodiscard]] int descriptor() const override { return -1; }
  void clear() override {}
};

/// Work inside a transaction. It may run again from the start when the engine had to roll it back,
/// and it calls no user code: a connection is held meanwhile, and a fork waits for it.
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

  /// Runs `work` in one write transaction; committed when it returns, undone when it throws. Other
  /// threads' work may be done before it in the same transaction, and all of it again after an
  /// attempt that came to nothing, unless it is to be `alone`. Creates the database where there is
  /// none.
  enum class Company { others, alone };
  /// What the work reaches, as far as its caller knows; an engine that begins with streams and
  /// finds that it needs everything runs it again.
  enum class Reach { streams, everything };
  virtual void write(std::optional<Timestamp> now, const WriteWork& work,
                     Company company = Company::others, Reach reach = Reach::everything) = 0;

  /// Runs `work` on one consistent view. False, and nothing run, where there is no database yet.
  /// `patience`: how long a database that is out of reach is waited for, in place of the busy
  /// timeout.
  using Patience = std::optional<std::chrono::milliseconds>;
  virtual bool read(std::optional<Timestamp> now, const ReadWork& work,
                    Patience patience = std::nullopt) = 0;

  /// The state that reading would give now. Nothing where that takes a transaction to tell.
  [[nodiscard]] virtual std::optional<StateId> state() = 0;

  /// Whether there is a database to read.
  [[nodiscard]] virtual bool exists() = 0;

  /// What users see it called: what `--database` takes, without passwords, and on engines that have
  /// schemas with `--schema`. Asks nobody, and so may be asked inside a transaction.
  [[nodiscard]] virtual std::string name() const = 0;

  /// The same for every name of one database, and for no other's. Nothing where there is none yet.
  [[nodiscard]] virtual std::optional<std::string> identity() = 0;

  /// The engine's clock.
  [[nodiscard]] virtual Timestamp now() = 0;

  /// Takes a new lock. Creates what it needs beside the database.
  [[nodiscard]] virtual std::unique_ptr<LifeLock> hold() = 0;

  /// Wakes when what this holder is doing is done, or the holder dead.
  [[nodiscard]] virtual std::unique_ptr<Wakeup> watch_holder(const rows::Holder& holder) = 0;

  /// Wakes after commits, whoever's; one may wake several times, or several once. What was
  /// committed before this returned may go unnoticed: look after arming it.
  [[nodiscard]] virtual std::unique_ptr<Wakeup> watch_commits() = 0;

  virtual void optimize(Vacuum vacuum) = 0;

  /// All that is known without reading the database.
  [[nodiscard]] virtual DatabaseInfo info() = 0;

  /// Of that what needs no look at it.
  [[nodiscard]] virtual DatabaseLocation location() const = 0;

  /// The schema that a database has once it was read or written.
  [[nodiscard]] virtual std::int64_t schema_version() const = 0;

  [[nodiscard]] virtual std::optional<AdoptionReport> adoption() const = 0;
};

struct EngineOptions {
  std::string database;  ///< Resolved: an absolute path, or a URL.
  std::string schema;    ///< Where a server keeps it.
  Durability durability = Durability::full;
  std::chrono::milliseconds busy_timeout{};
  AdoptRows adopt;
};

/// The engine for a database as users name it, empty for the default. Opens nothing yet. Throws
/// InvalidArgument for what no engine can open.
std::unique_ptr<Engine> open_engine(const Options& options, AdoptRows adopt);

}  // namespace dbcache::store
