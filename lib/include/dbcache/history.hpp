#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include <dbcache/time.hpp>

namespace dbcache {

/// One column that an event changed, with its values. A JSON null means no value.
struct ColumnChange {
  std::string column;
  boost::json::value before;
  boost::json::value after;
};

/// How an event changed the row of its stream, in `clusters` or `shared_cluster_registry`.
enum class RowEffect { none, made, changed, removed };

/// An event as the log holds it, and its effect. docs/log-format.md describes every type.
struct RecordedEvent {
  std::int64_t position = 0;  ///< In the whole log, from 1.
  std::string stream;         ///< `cluster-<cluster_id>`, `registry-<config_hash>` or `run-<name>`.
  std::int64_t version = 0;   ///< In its stream, from 1.
  std::string type;           ///< Such as `ClusterCached`.
  std::string payload;        ///< JSON, byte for byte as stored.
  std::string metadata;       ///< JSON, byte for byte as stored: host, pid, user, program, label.
  Timestamp recorded_at{};
  std::string command_id;  ///< 32 hex digits. All events of one command have the same.
  std::string hash;        ///< 64 hex digits: SHA-256, as docs/log-format.md defines it.
  RowEffect effect = RowEffect::none;
  std::vector<ColumnChange> changes;  ///< Empty if the row stayed as it was.
};

/// How `wait_for_events` waits.
struct WatchOptions {
  std::optional<std::chrono::milliseconds> timeout{};  ///< Empty: no timeout.
  std::stop_token stop{};                              ///< Ends the wait with Cancelled.
  std::size_t limit = 1000;                            ///< The most events of one call; not 0.
};

/// The order in which `history` returns events, by position.
enum class HistoryOrder { oldest_first, newest_first };

/// Which events `history` returns: those that match every field.
struct HistoryQuery {
  /// A cluster id, a config hash or the name of a run. Empty: the whole log. For a cluster id, the
  /// events of registry entries that named the cluster are returned too. Of such an entry they are
  /// all events from its making to its removal.
  std::string subject{};
  std::vector<std::string> types{};    ///< Event types. Empty: every type.
  std::optional<Timestamp> since{};    ///< Recorded at this time or later.
  std::optional<Timestamp> until{};    ///< Recorded before this time.
  std::optional<std::size_t> limit{};  ///< The most events, the first ones in `order`.
  HistoryOrder order = HistoryOrder::oldest_first;
};

}  // namespace dbcache
