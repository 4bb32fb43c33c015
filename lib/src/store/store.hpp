#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <dbcache/history.hpp>
#include <dbcache/options.hpp>
#include <dbcache/replay.hpp>

#include "commands/decision.hpp"
#include "projections/tables.hpp"
#include "store/engine.hpp"

namespace dbcache::store {

/// How many events are read in one transaction when many are: a fork waits for no longer.
inline constexpr std::size_t page_size = 1000;

/// The event store, the same on every engine: events are decided, appended with their hashes,
/// projected and committed in one transaction. Thread-safe.
class Store {
 public:
  /// Throws InvalidArgument for options that no database could have.
  explicit Store(Options options);

  /// Decides on the rows as they are, appends the events and projects them; `observe` sees the rows
  /// after that, still inside the transaction. On disk when it returns.
  using Decide = std::function<commands::Events(const projections::TableReader&, Timestamp now)>;
  using Observe = std::function<void(const projections::TableReader&)>;
  void transact(const Decide& decide, const Observe& observe = {});

  /// `work` on one consistent view. False where there is no database yet.
  bool read(const ReadWork& work) const;

  /// The present, by the clock that was passed in, else the engine's.
  [[nodiscard]] Timestamp now() const;

  [[nodiscard]] Engine& engine() const { return *engine_; }

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
  void append(WriteSession& session, const commands::Events& events, const std::string& metadata,
              const std::string& command_id) const;
  AdoptionReport adopt(WriteSession& session, const commands::DocumentedRows& rows) const;

  Origin origin_;
  Clock clock_;
  std::optional<commands::Zone> adoption_zone_;
  std::unique_ptr<Engine> engine_;
};

/// The events that fit a query, with what each changed.
std::vector<RecordedEvent> history(const Store& store, const HistoryQuery& query);

/// Rebuilds the tables from the log, or compares them with it.
ReplayReport replay(const Store& store, const ReplayOptions& options);

/// Checks the log from its first event to its last.
VerifyReport verify(const Store& store, const VerifyOptions& options);

}  // namespace dbcache::store
