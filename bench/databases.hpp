#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace dbcache::bench {

/// One of our databases, and the baseline's with the same rows and events. Removed at the end.
class Pair {
 public:
  explicit Pair(const std::filesystem::path& directory);
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  [[nodiscard]] std::string ours() const { return (directory_ / "ours.db").string(); }
  [[nodiscard]] std::string baseline() const { return (directory_ / "baseline.db").string(); }
  /// An entry that both have, ready.
  [[nodiscard]] static std::string config_hash();

 private:
  std::filesystem::path directory_;
};

/// One of our databases with so many events in so many streams, made once and kept in the
/// directory; its tables are right.
std::string big_database(const std::filesystem::path& directory, std::int64_t events,
                         std::int64_t streams);

}  // namespace dbcache::bench
