#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <dbcache/cluster.hpp>
#include <dbcache/options.hpp>

namespace dbcache::chaos {

/// What a worker breaks on purpose, so that the checker can be seen to notice.
inline constexpr const char* break_two_creators = "two-creators";
inline constexpr const char* break_two_terminations = "two-terminations";
inline constexpr const char* break_terminate_under_lease = "terminate-under-lease";
inline constexpr const char* break_leak = "leak";
/// Not by a worker: no cluster is found by its tag.
inline constexpr const char* break_tag_look_up = "tag-look-up";

/// For how long a lease may go on at most that nobody holds any more.
inline constexpr std::chrono::milliseconds longest_left_behind{150};

/// Where a run of chaos keeps its files.
struct Places {
  std::filesystem::path directory;
  std::string database;
  std::string schema{};  ///< Of a database on a server; empty: as by default.

  [[nodiscard]] std::filesystem::path workspace() const { return directory / "workspace"; }
  /// Of the workspace that is asked over HTTPS.
  [[nodiscard]] std::filesystem::path fake() const { return directory / "fake"; }
  [[nodiscard]] std::filesystem::path journals() const { return directory / "journals"; }
  [[nodiscard]] std::filesystem::path journal_of(const std::string& who) const {
    return journals() / who;
  }
};

struct WorkerSettings {
  Places places;
  std::int64_t number = 0;  ///< Of the worker: no two of a run have the same.
  std::uint64_t seed = 0;
  int configurations = 20;
  std::string breaks;  ///< Empty: nothing.
  /// What is acknowledged is to outlive the server's death.
  Durability durability = Durability::relaxed;
  /// How many percent of the uses, by every other worker, take half a minute and more, by a holder
  /// who asks whether the cluster is lost.
  int long_holds = 0;
  /// The log may be another one from one call to the next.
  bool other_logs = false;
  /// Clusters are those of the fake workspace of tests/workspace, over HTTPS.
  bool over_https = false;
  /// The number of its host, where there are several: the database may be out of its reach for a
  /// while.
  std::optional<int> host{};
};

/// The configuration with this number.
ClusterConfig configuration(int number);

/// Acquires, holds and releases at random until standard input ends. Throws what it did not expect.
void work(const WorkerSettings& settings);

/// Works against the rules until standard input ends.
void break_rule(const WorkerSettings& settings);

/// Whether standard input ended, by which workers are told to end, within a time.
bool told_to_end(std::chrono::milliseconds within);

}  // namespace dbcache::chaos
