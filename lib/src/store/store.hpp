#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include <dbcache/history.hpp>
#include <dbcache/options.hpp>
#include <dbcache/replay.hpp>

#include "events/adoption.hpp"
#include "events/event.hpp"
#include "rows/present.hpp"
#include "rows/tables.hpp"
#include "store/engine.hpp"

namespace dbcache::store {

/// How many events are read in one transaction when many are: a fork waits for no longer.
inline constexpr std::size_t page_size = 1000;

/// What a decision on leases looks at, in a reading session.
inline rows::Present present(const ReadSession& session) {
  return {session.tables, session.liveness, session.now};
}

/// The event store, the same on every engine: events are decided, appended with their hashes,
/// projected and committed in one transaction. Thread-safe.
class Store {
 public:
  /// A write transaction of several decisions, each on what the ones before it left.
  class Transaction {
   public:
    [[nodiscard]] const rows::TableReader& rows() const { return session_.tables; }
    [[nodiscard]] rows::Present present() const {
      return {session_.tables, session_.liveness, session_.now};
    }

    /// Appends and projects events. Returns the position of the first.
    std::int64_t append(const events::Events& events);

    [[nodiscard]] std::optional<Closure> closure() const { return session_.log.closure(); }
    /// Ends that anybody appends, once this is committed. On disk then, whatever `Durability` says.
    void close_log(const Closure& closure);

   private:
    friend class Store;
    Transaction(const Store& store, WriteSession& session, const std::string& metadata,
                const std::string& command_id)
        : store_(store), session_(session), metadata_(metadata), command_id_(command_id) {}

    const Store& store_;
    WriteSession& session_;
    const std::string& metadata_;
    const std::string& command_id_;
    std::size_t appended_ = 0;
    bool closed_ = false;
    Sync sync_ = Sync::as_configured;
  };

  /// Decides what the rows of a database become that no log tells of.
  using Adopt = std::function<events::Adoption(const rows::DocumentedRows&, Timestamp now)>;

  /// Throws InvalidArgument for options that no database could have. Without `adopt`, a database
  /// that holds rows without a log is refused.
  explicit Store(Options options, Adopt adopt = {});

  /// Runs `steps` in one write transaction, creating the database where there is none. It may run
  /// again from the start. On disk when it returns.
  void transact_in_steps(const std::function<void(Transaction&)>& steps,
                         Engine::Reach reach = Engine::Reach::everything);

  /// Decides on the rows as they are, appends the events and projects them; `observe` sees the rows
  /// after that, still inside the transaction. On disk when it returns.
  using Decide = std::function<events::Events(const rows::Present&)>;
  using Observe = std::function<void(const rows::TableReader&)>;
  void transact(const Decide& decide, const Observe& observe = {});

  /// `work` on one consistent view. False where there is no database yet.
  bool read(const ReadWork& work, Engine::Patience patience = std::nullopt) const;

  /// The present, by the clock that was passed in, else the engine's.
  [[nodiscard]] Timestamp now() const;

  [[nodiscard]] Engine& engine() const { return *engine_; }

  /// Throws DatabaseMoved where nobody may append to this store's log.
  void require_open(const EventLogReader& log) const;

  /// What this process says of itself, if anything.
  [[nodiscard]] std::optional<std::string> label() const;

 private:
  /// Who makes events, but for what may differ from call to call.
  struct Origin {
    std::string host;
    std::string user;
    std::string program;
    std::string label;
  };

  [[nodiscard]] std::optional<Timestamp> given_now() const;
  [[nodiscard]] std::string metadata() const;
  [[nodiscard]] std::string new_metadata() const;
  std::int64_t append(WriteSession& session, const events::Events& events,
                      const std::string& metadata, const std::string& command_id) const;
  AdoptionReport adopt_rows(WriteSession& session, const rows::DocumentedRows& rows) const;

  /// The metadata of events, and of what it was made.
  struct Metadata {
    pid_t pid = 0;
    std::string token;
    std::string label;
    std::string text;
  };

  Origin origin_;
  mutable std::mutex metadata_mutex_;
  mutable Metadata metadata_;
  Clock clock_;
  Adopt adopt_;
  std::unique_ptr<Engine> engine_;
};

/// The events that fit a query, with what each changed.
std::vector<RecordedEvent> history(const Store& store, const HistoryQuery& query);

/// At most `limit` events from a position on, without what they changed.
std::vector<RecordedEvent> events_from(const Store& store, std::int64_t position, std::size_t limit,
                                       Extent extent = Extent::settled);

/// Rebuilds the tables from the log, or compares them with it.
ReplayReport replay(const Store& store, const ReplayOptions& options);

/// Checks the log from its first event to its last.
VerifyReport verify(const Store& store, const VerifyOptions& options);

}  // namespace dbcache::store
