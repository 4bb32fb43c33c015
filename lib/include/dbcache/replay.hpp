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
  std::int64_t events_done = 0;
  std::int64_t events_total = 0;  ///< As counted at the start; more may come meanwhile.
};

/// Called now and then on the caller's thread, while no connection is held. An exception from it
/// ends the pass, with nothing changed.
using ProgressCallback = std::function<void(const LogProgress&)>;

/// What `replay` is to do with what it finds.
enum class ReplayMode {
  rebuild,  ///< Write the tables anew from the log.
  check,    ///< Compare, and change nothing.
};

struct ReplayOptions {
  ReplayMode mode = ReplayMode::rebuild;
  ProgressCallback on_progress{};
};

/// One place where a live table differs from what the log says it holds.
struct RowDifference {
  enum class Kind {
    missing,     ///< The log has the row, the table does not.
    unexpected,  ///< The table has the row, the log does not.
    changed,     ///< A column holds something else.
  };
  std::string table;
  std::string key;  ///< cluster_id or config_hash.
  Kind kind = Kind::changed;
  std::string column;           ///< For `changed`; empty otherwise.
  boost::json::value expected;  ///< From the log: the column, or the missing row.
  boost::json::value found;     ///< In the table: the column, or the unexpected row.
};

struct ReplayReport {
  std::int64_t events = 0;                 ///< Read from the log.
  std::int64_t clusters = 0;               ///< Rows that the log makes in `clusters`.
  std::int64_t registry_entries = 0;       ///< Rows that it makes in `shared_cluster_registry`.
  std::vector<RowDifference> differences;  ///< Found before anything was written.
  bool rebuilt = false;                    ///< The tables were written anew.
};

/// The log's head, to keep elsewhere: the number of events N, and SHA-256, in hex, over the hashes
/// of events 1 to N in order of position. Only against a kept head does a cut tail show.
struct LogHead {
  std::int64_t events = 0;
  std::string hash;

  bool operator==(const LogHead&) const = default;
};

struct VerifyOptions {
  std::optional<LogHead> kept_head{};  ///< The log must still begin with this.
  ProgressCallback on_progress{};
};

/// Something that is wrong with the log.
struct LogProblem {
  std::int64_t position = 0;  ///< Of the event at fault; 0 where it is about the log as a whole.
  std::string stream;         ///< Empty where it is about the log as a whole.
  std::int64_t version = 0;
  std::string what;
};

struct VerifyReport {
  LogHead head;  ///< Of the log as it is.
  std::int64_t streams = 0;
  std::vector<LogProblem> problems;  ///< At most one a stream: its first; and those of the log.

  [[nodiscard]] bool ok() const noexcept { return problems.empty(); }
};

}  // namespace dbcache
