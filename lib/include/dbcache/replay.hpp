#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

namespace dbcache {

/// How far a pass over the log has come.
struct LogProgress {
  std::int64_t events_done = 0;  ///< Events read so far. May pass `events_total`: writers go on.
  /// The last position when the pass began. The log has fewer events if positions are missing, as
  /// on PostgreSQL.
  std::int64_t events_total = 0;
};

/// Reports progress. The pass calls it after each page of events, on the caller's thread. No
/// connection is held meanwhile, so it may use the library. An exception from it ends the pass with
/// nothing changed; MoveOptions::on_progress says how a move differs.
using ProgressCallback = std::function<void(const LogProgress&)>;

/// Whether `replay` writes.
enum class ReplayMode {
  rebuild,  ///< Writes the projected tables anew from the log.
  check,    ///< Compares them with the log and changes nothing.
};

/// How `replay` runs.
struct ReplayOptions {
  ReplayMode mode = ReplayMode::rebuild;
  ProgressCallback on_progress{};
};

/// One place where a projected table differs from the log.
struct RowDifference {
  enum class Kind {
    missing,     ///< The log has the row, the table does not.
    unexpected,  ///< The table has the row, the log does not.
    changed,     ///< A column has another value.
  };
  std::string table;
  std::string key;  ///< The row's key in that table, such as a cluster_id or a config_hash.
  Kind kind = Kind::changed;
  std::string column;           ///< For `changed`; empty otherwise.
  boost::json::value expected;  ///< From the log: the column's value, or the missing row.
  boost::json::value found;     ///< In the table: the column's value, or the unexpected row.
};

/// The result of `replay`. All zeros if there is no database.
struct ReplayReport {
  std::int64_t events = 0;                 ///< Events read from the log.
  std::int64_t clusters = 0;               ///< Rows of `clusters` that the log makes.
  std::int64_t registry_entries = 0;       ///< Rows of `shared_cluster_registry` that it makes.
  std::vector<RowDifference> differences;  ///< As they were before anything was written.
  bool rebuilt = false;                    ///< The tables were written anew.
};

/// The head of a log. Keep it outside the database: only a kept head shows that the tail of the log
/// was cut off. docs/log-format.md describes it, with test vectors.
struct LogHead {
  std::int64_t events = 0;  ///< The number of events, N.
  std::string hash;  ///< SHA-256 over the hashes of events 1 to N by position, in 64 hex digits.

  bool operator==(const LogHead&) const = default;
};

/// How `verify` runs.
struct VerifyOptions {
  std::optional<LogHead> kept_head{};  ///< The log must begin with these events.
  ProgressCallback on_progress{};
};

/// One fault of the log.
struct LogProblem {
  std::int64_t position = 0;  ///< Of the event at fault; 0 if the fault is the whole log's.
  std::string stream;         ///< Of that event; empty if the fault is the whole log's.
  std::int64_t version = 0;   ///< Of that event in its stream; 0 if the fault is the whole log's.
  std::string what;           ///< The fault, in words.
};

/// The result of `verify`.
struct VerifyReport {
  LogHead head;                      ///< The present head of the log.
  std::int64_t streams = 0;          ///< How many streams the log has.
  std::vector<LogProblem> problems;  ///< The first of each stream, and those of the whole log.

  /// Whether the log is sound. Never throws.
  [[nodiscard]] bool ok() const noexcept { return problems.empty(); }
};

}  // namespace dbcache
