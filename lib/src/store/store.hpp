#pragma once

#include <functional>
#include <map>
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

/// How many events one transaction reads at most. A fork waits no longer than that takes.
inline constexpr std::size_t page_size = 1000;

/// What a decision sees, from a read session.
inline rows::Present present(const ReadSession& session) {
  return {session.tables, session.liveness, session.now, session.log};
}

/// The event store, the same on every engine. One transaction decides on events, appends them with
/// their hashes, and projects them. Thread-safe.
class Store {
 public:
  /// A write transaction of several decisions. Each sees what the ones before it changed.
  class Transaction {
   public:
    [[nodiscard]] const rows::TableReader& rows() const { return session_.tables; }
    [[nodiscard]] rows::Present present() const {
      return {session_.tables, session_.liveness, session_.now, session_.log};
    }

    /// Appends and projects events. Returns the position of the first.
    std::int64_t append(const events::Events& events);

    /// The name of an event that it has appended.
    [[nodiscard]] rows::EventName name_of(std::int64_t position) const;

    /// Names the log.
    [[nodiscard]] std::string incarnation() const { return session_.log.incarnation(); }

    /// The event at this position will be asked for.
    void foresee_event(std::int64_t position) const { session_.log.foresee_event(position); }

    /// Replaces what a creation told of its progress. Not in the log.
    void tell_progress(std::string_view config_hash, std::int64_t creation,
                       std::string_view doing) {
      session_.tables.tell_progress(config_hash, creation, doing);
    }

    /// What it has appended so far.
    [[nodiscard]] const events::Events& appended() const { return appended_; }

    [[nodiscard]] std::optional<ClosedLog> closed() const { return session_.log.closed(); }
    /// Closes the log to all appends once this commits. The commit is synced, whatever `Durability`
    /// says.
    void close_log(const ClosedLog& closed);

   private:
    friend class Store;
    Transaction(const Store& store, WriteSession& session, const std::string& metadata,
                const std::string& command_id)
        : store_(store), session_(session), metadata_(metadata), command_id_(command_id) {}

    const Store& store_;
    WriteSession& session_;
    const std::string& metadata_;
    const std::string& command_id_;
    events::Events appended_;
    std::map<std::int64_t, std::string> hashes_;  ///< Of what was appended, by position.
    bool closed_ = false;
    Sync sync_ = Sync::as_configured;
  };

  /// Turns the rows of a database without a log into events.
  using Adopt = std::function<events::Adoption(const rows::DocumentedRows&, Timestamp now)>;

  /// Throws InvalidArgument for invalid options. Without `adopt`, refuses a database that has rows
  /// but no log.
  explicit Store(Options options, Adopt adopt = {});

  /// Runs `steps` in one write transaction, and creates the database if there is none. `steps` may
  /// run again from the start. On disk when it returns.
  void transact_in_steps(const std::function<void(Transaction&)>& steps,
                         Engine::LockScope scope = Engine::LockScope::everything);

  /// Decides on the rows as they are, appends the events and projects them; `observe` sees the rows
  /// after that, still inside the transaction. On disk when it returns.
  using Decide = std::function<events::Events(const rows::Present&)>;
  using Observe = std::function<void(const rows::TableReader&)>;
  void transact(const Decide& decide, const Observe& observe = {});

  /// Runs `work` on one consistent view. Returns false if there is no database yet.
  bool read(const ReadWork& work, Engine::Patience patience = std::nullopt) const;

  /// What a decision sees if there is no database: no rows, no holders and no events.
  [[nodiscard]] rows::Present nothing() const;

  /// The present by the clock of the options, or else by the clock of the engine.
  [[nodiscard]] Timestamp now() const;

  [[nodiscard]] Engine& engine() const { return *engine_; }

  /// Throws DatabaseMoved if the log is closed.
  void require_open(const EventLogReader& log) const;

  /// The label that this process gives its events, if any.
  [[nodiscard]] std::optional<std::string> label() const;

 private:
  /// The part of the metadata that stays the same for all calls.
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
                      const std::string& metadata, const std::string& command_id,
                      std::map<std::int64_t, std::string>* hashes = nullptr) const;
  AdoptionReport adopt_rows(WriteSession& session, const rows::DocumentedRows& rows) const;

  /// The metadata of events as JSON, and the values that it was made from.
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

/// The events that match a query, with the changes of each.
std::vector<RecordedEvent> history(const Store& store, const HistoryQuery& query);

/// At most `limit` events from a position on, without their changes.
std::vector<RecordedEvent> events_from(const Store& store, std::int64_t position, std::size_t limit,
                                       Extent extent = Extent::settled);

/// Rebuilds the tables from the log, or compares them with it.
ReplayReport replay(const Store& store, const ReplayOptions& options);

/// Checks the log from its first event to its last.
VerifyReport verify(const Store& store, const VerifyOptions& options);

}  // namespace dbcache::store
