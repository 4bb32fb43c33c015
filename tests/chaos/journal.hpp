#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include <boost/json/object.hpp>

namespace dbcache::chaos {

/// Nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
std::int64_t monotonic_now();

/// Sleeps: what stands in for a cluster's start, and for a test's use of it.
void spend(std::chrono::milliseconds duration);

/// A file of lines of JSON that is only ever appended to, by several processes at once. Each record
/// is one write(2), in lines of its own: a process that is killed within it leaves at most a line
/// that is no JSON, which readers skip, and never half of another's.
class Journal {
 public:
  explicit Journal(const std::filesystem::path& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Appends a record with the time `at` added: the one given, else now.
  void write(boost::json::object record, std::int64_t at = monotonic_now()) const;

 private:
  int file_;
};

}  // namespace dbcache::chaos
