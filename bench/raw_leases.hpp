#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <dbcache/time.hpp>

namespace dbcache::bench {

/// What our events and rows say, for the program written by hand to write as many bytes.
struct LeaseSamples {
  std::string holder;  ///< The column of `leases`.
  std::string grant_payload;
  std::string grant_metadata;
  std::string release_payload;
  std::string release_metadata;

  /// To and from a role's words.
  [[nodiscard]] std::vector<std::string> words() const;
  static LeaseSamples from_words(const std::vector<std::string>& words, std::size_t first);
};

inline Timestamp wall_time() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

/// The rows that are in a database before a call is measured.
struct RawRows {
  int entries = 0;          ///< Ready, as config_hash_of and cluster_id_of name them from 0 on.
  std::int64_t others = 0;  ///< Leases, ...
  std::int64_t spread = 1;  ///< ... of so many configurations, ...
  std::int64_t first = 0;   ///< ... that these functions name from this number on.
};

/// What a good programmer writes by hand to count who uses a cluster: an event, a lease's row and
/// two more rows in a transaction, but nothing of what dbcache promises: no hashes, no locks by
/// which others see that a holder died, no looking after the dead.
class RawLeases {
 public:
  RawLeases() = default;
  virtual ~RawLeases() = default;
  RawLeases(const RawLeases&) = delete;
  RawLeases& operator=(const RawLeases&) = delete;

  virtual void grant() = 0;
  /// Ends the lease that was granted last.
  virtual void release() = 0;
};

/// The last ones of one of our databases, which has both.
LeaseSamples sample_sqlite(const std::string& path);
void make_raw_sqlite(const std::string& path, const RawRows& rows, const LeaseSamples& samples);
std::unique_ptr<RawLeases> open_raw_sqlite(const std::string& path, int entry,
                                           LeaseSamples samples);

/// The same in a PostgreSQL database.
LeaseSamples sample_postgres(const std::string& url);
void make_raw_postgres(const std::string& url, const RawRows& rows, const LeaseSamples& samples);
std::unique_ptr<RawLeases> open_raw_postgres(const std::string& url, int entry,
                                             LeaseSamples samples);

}  // namespace dbcache::bench
