#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "bench/contention.hpp"
#include "bench/measure.hpp"

// What dbcache_joins measured, for people and for programs.
namespace dbcache::bench {

/// Calls of one side over all rounds.
class Calls {
 public:
  void add(Contention contention);

  [[nodiscard]] const Side& side() const { return side_; }
  [[nodiscard]] double per_second() const { return side_.calls_per_second(); }
  /// Of a call, in microseconds.
  [[nodiscard]] double processor() const;
  [[nodiscard]] std::int64_t failed() const { return failed_; }
  [[nodiscard]] boost::json::object to_json() const;

 private:
  Side side_;
  Nanoseconds processor_ = 0;
  std::int64_t calls_ = 0;
  std::int64_t failed_ = 0;
};

/// The leases of others.
struct Others {
  std::int64_t leases = 0;
  std::int64_t spread = 1;  ///< Over how many configurations.
  bool held = false;        ///< These are the measured ones.

  bool operator==(const Others&) const = default;
};

/// Acquire and release.
struct JoinsLine {
  std::string engine;
  int processes = 1;
  bool same = false;  ///< All processes have one configuration.
  Others others;
  Calls ours;
  Calls raw;
};

struct SweepLine {
  std::string engine;
  Others others;
  Calls sweeps;
};

/// One round of workers that acquire at one moment.
struct CrowdLine {
  std::string engine;
  std::int64_t workers = 0;
  std::int64_t processes = 0;
  std::int64_t configurations = 0;
  double seconds = 0;  ///< Until all hold.
  std::int64_t created = 0;
  std::int64_t failed = 0;
  // After its processes were killed, one after the other:
  double seconds_to_find = 0;  ///< Until sweeps have found all of them, connecting included.
  std::int64_t left = 0;       ///< Leases that are still in the tables then.
  std::int64_t owed = 0;       ///< Clusters to terminate.
};

struct JoinsResults {
  std::vector<JoinsLine> joins;
  std::vector<SweepLine> sweeps;
  std::vector<CrowdLine> crowds;

  void print(std::ostream& out) const;
  [[nodiscard]] boost::json::object to_json() const;
};

/// As a line of progress.
std::string to_text(const JoinsLine& line);
std::string to_text(const SweepLine& line);
std::string to_text(const CrowdLine& line);

}  // namespace dbcache::bench
