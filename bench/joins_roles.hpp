#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/raw_leases.hpp"

// The processes of dbcache_joins, by the words that start them.
namespace dbcache::bench {

/// The others' configurations are numbered from here, those of the measured from 0.
constexpr std::int64_t first_other = 500'000;

/// Keeps leases until it is killed; says 1 once it has all. Their numbers count from `first`; each
/// is of the configuration `first_configuration + number % spread`.
struct HolderRole {
  std::string database;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t spread = 1;
  std::int64_t first_configuration = 0;
};

/// Threads that each acquire once, at the moment that they are told; worker N the configuration
/// N % configurations. Says 1 when they are ready, then when the last one held, how many failed,
/// and how many created; holds all until it hears a number.
struct CrowdRole {
  std::string database;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t configurations = 1;
};

using RoleWords = std::vector<std::string>;

/// Leases and releases the configuration 0 twice, so that the log has an event of each kind.
RoleWords prime_role(const std::string& database);
RoleWords holder_role(const HolderRole& role);
RoleWords crowd_role(const CrowdRole& role);
// These are contenders.
RoleWords ours_role(const std::string& database, int configuration);
RoleWords raw_role(const std::string& engine, const std::string& database, int entry,
                   const LeaseSamples& samples);
RoleWords sweep_role(const std::string& database);

int play_joins(const RoleWords& role);

}  // namespace dbcache::bench
