#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace dbcache::bench {

/// The program that dbcache is compared with: what a good programmer writes by hand with SQLite's C
/// interface. Cached statements, a write-ahead log, SQLite's own waiting for locks, the documented
/// tables with their indexes, and one row of `events` for each change: as many bytes as ours, but
/// no hash is computed, nothing is validated, and no trigger guards the log.
class Baseline {
 public:
  /// What survives a power loss: every commit, or none of the last ones.
  enum class Synchronous { full, normal };

  /// Makes a database for it with the rows of one of ours, its log too.
  static void copy(const std::string& ours, const std::string& to);

  Baseline(const std::string& path, Synchronous synchronous);
  ~Baseline();
  Baseline(Baseline&&) = delete;

  /// One transaction: the entry, its stream's last version, an event, the new count. It says what
  /// the last UsageIncremented that was copied says.
  void increment(const std::string& config_hash);

  /// Reads every column of the newest active cluster that has not expired. Returns their size, so
  /// that nothing is left out.
  std::int64_t read_active_cluster(std::string_view now);

  /// The same of a registry entry.
  std::int64_t read_entry(std::string_view config_hash);

 private:
  class Statement;

  sqlite3* database_ = nullptr;
  std::string payload_;
  std::string metadata_;
  std::unique_ptr<Statement> begin_;
  std::unique_ptr<Statement> commit_;
  std::unique_ptr<Statement> roll_back_;
  std::unique_ptr<Statement> entry_;
  std::unique_ptr<Statement> version_;
  std::unique_ptr<Statement> append_;
  std::unique_ptr<Statement> count_;
  std::unique_ptr<Statement> active_;
};

/// A log that was read from its first event to its last, every column of it.
struct Scan {
  std::int64_t events = 0;
  std::int64_t bytes = 0;       ///< Of all columns, as the log's hashes count them.
  std::int64_t text_bytes = 0;  ///< Of payload and metadata alone.
};

/// Reads one of our logs, or the baseline's, in order of position.
Scan scan_log(const std::string& path);

}  // namespace dbcache::bench
