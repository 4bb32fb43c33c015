#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

// The names in a log of dbcache_big_log: as many clusters as entries of the registry. Number 0 of
// both has the same few events in a log of any size, spread over it; the others share the rest.
namespace dbcache::bench {

inline std::string cluster_id_of(std::int64_t number) {
  return fmt::format("1123-{:06}-benchlog", number);
}
inline std::string config_hash_of(std::int64_t number) { return fmt::format("{:064x}", number); }

}  // namespace dbcache::bench
