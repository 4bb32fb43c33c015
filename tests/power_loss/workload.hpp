#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <dbcache/options.hpp>

namespace dbcache::power_loss {

struct WorkerSettings {
  std::string database;
  std::string name;  ///< Its events carry it: no other worker's, in this life or another.
  std::uint64_t seed = 0;
  int threads = 1;
  int calls = 10;  ///< Of each thread.
  Durability durability = Durability::full;
  bool forks = false;
};

/// Changes the database at random, and acknowledges what each call promised by returning: the event
/// that must be in the log, in words.
void work(const WorkerSettings& settings);

/// Complains of events that were promised and are not in the log, and of whatever else is wrong
/// with the database. A promise that was given twice is of two events.
void check(const std::string& database, const std::vector<std::string>& promised);

}  // namespace dbcache::power_loss
