#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/options.hpp>
#include <dbcache/time.hpp>

#include "commands/adopt.hpp"
#include "projections/tables.hpp"
#include "store/event_record.hpp"

// What an engine does in its own way: transactions, the log's rows, the tables' rows, the clock.
// Whatever is the same on every engine (hashes, versions, projecting, replay) is above this line.
namespace dbcache::store {

/// The end of a stream, where the next event is appended.
struct StreamEnd {
  std::int64_t version = 0;  ///< 0: there is no such stream yet.
  std::string hash;          ///< Of its last event; empty where there is none.
};

class EventLogReader {
 public:
  EventLogReader() = default;
  EventLogReader(const EventLogReader&) = delete;
  EventLogReader& operator=(const EventLogReader&) = delete;
  virtual ~EventLogReader() = default;

  /// The highest position; 0 in an empty log.
  [[nodiscard]] virtual std::int64_t last_position() const = 0;
  [[nodiscard]] virtual StreamEnd end_of(std::string_view stream) const = 0;

  /// At most `limit` events in order, from after a position or version on.
  [[nodiscard]] virtual std::vector<EventRecord> read(std::int64_t after_position,
                                                      std::size_t limit) const = 0;
  [[nodiscard]] virtual std::vector<EventRecord> read_stream(std::string_view stream,
                                                             std::int64_t after_version,
                                                             std::size_t limit) const = 0;

  /// The registry streams with an event that names this cluster.
  [[nodiscard]] virtual std::vector<std::string> streams_naming(
      std::string_view cluster_id) const = 0;
};

class EventLog : public EventLogReader {
 public:
  /// Adds an event as it is. A position or a version that is taken already is refused.
  virtual void append(const EventRecord& record) = 0;
};

struct ReadSession {
  const projections::TableReader& tables;
  const EventLogReader& log;
  Timestamp now;
};

struct WriteSession {
  projections::Tables& tables;
  EventLog& log;
  Timestamp now;
};

/// How a commit is to be kept.
enum class Sync {
  as_configured,
  always,  ///< On disk before the call returns, whatever `Durability` says.
};

/// Work inside a transaction. It may run again from the start when the engine had to roll it back,
/// and it calls no user code: a connection is held meanwhile, and a fork waits for it.
using ReadWork = std::function<void(const ReadSession&)>;
using WriteWork = std::function<Sync(WriteSession&)>;

/// Called inside the transaction that gives an older database its log.
using AdoptRows = std::function<AdoptionReport(WriteSession&, const commands::DocumentedRows&)>;

/// Thread-safe. `now` overrides the engine's clock.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  /// Runs `work` in one write transaction, alone; committed when it returns, rolled back when it
  /// throws. Creates the database where there is none.
  virtual void write(std::optional<Timestamp> now, const WriteWork& work) = 0;

  /// Runs `work` on one consistent view. False, and nothing run, where there is no database yet.
  virtual bool read(std::optional<Timestamp> now, const ReadWork& work) = 0;

  /// Whether there is a database to read.
  [[nodiscard]] virtual bool exists() = 0;

  /// The engine's clock.
  [[nodiscard]] virtual Timestamp now() = 0;

  virtual void optimize(Vacuum vacuum) = 0;

  /// All that is known without reading the database.
  [[nodiscard]] virtual DatabaseInfo info() = 0;

  /// The schema that a database has once it was read or written.
  [[nodiscard]] virtual std::int64_t schema_version() const = 0;

  [[nodiscard]] virtual std::optional<AdoptionReport> adoption() const = 0;
};

struct EngineOptions {
  std::string database;  ///< Resolved: an absolute path.
  Durability durability = Durability::full;
  std::chrono::milliseconds busy_timeout{};
  AdoptRows adopt;
};

/// The engine for a database as users name it, empty for the default. Opens nothing yet. Throws
/// InvalidArgument for what no engine can open.
std::unique_ptr<Engine> open_engine(const Options& options, AdoptRows adopt);

}  // namespace dbcache::store
