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

/// One column that an event changed; null stands for no value.
struct ColumnChange {
  std::string column;
  boost::json::value before;
  boost::json::value after;
};

/// What an event did to its row.
enum class RowEffect { none, made, changed, removed };

/// An event as the log holds it, and what it changed.
struct RecordedEvent {
  std::int64_t position = 0;  ///< In the whole log, from 1.
  std::string stream;         ///< `cluster-<cluster_id>`, `registry-<config_hash>` or `run-<name>`.
  std::int64_t version = 0;   ///< In its stream, from 1.
  std::string type;
  std::string payload;   ///< JSON, byte for byte as stored.
  std::string metadata;  ///< JSON, byte for byte as stored: host, pid, user, program, label.
  Timestamp recorded_at{};
  std::string command_id;  ///< 32 hex digits; the events of one command share it.
  std::string hash;        ///< 64 hex digits; docs/log-format.md says of what.
  RowEffect effect = RowEffect::none;
  std::vector<ColumnChange> changes;  ///< Empty where the row stayed as it was.
};

/// How `wait_for_events` waits.
struct WatchOptions {
  std::optional<std::chrono::milliseconds> timeout{};  ///< Nothing: for ever.
  std::stop_token stop{};                              ///< Ends the wait with Cancelled.
  std::size_t limit = 1000;                            ///< At most so many events at once.
};

/// Which way `history` goes through the log.
enum class HistoryOrder { oldest_first, newest_first };

/// Which events `history` returns.
struct HistoryQuery {
  /// A cluster id, a config hash or the name of a run. For a cluster: its own events, and those of
  /// the registry entries that named it, for as long as they did. Empty: the whole log.
  std::string subject{};
  std::vector<std::string> types{};  ///< Event types; empty means every type.
  std::optional<Timestamp> since{};  ///< Recorded at or after.
  std::optional<Timestamp> until{};  ///< Recorded before.
  std::optional<std::size_t> limit{};
  HistoryOrder order = HistoryOrder::oldest_first;
};

}  // namespace dbcache
