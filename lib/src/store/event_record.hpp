#pragma once

#include <cstdint>
#include <string>

namespace dbcache::store {

/// An event as the log stores it, byte for byte.
struct EventRecord {
  std::int64_t position = 0;
  std::string stream;
  std::int64_t version = 0;
  std::string type;
  std::string payload;
  std::string metadata;
  std::int64_t recorded_at = 0;  ///< Microseconds since 1970, UTC.
  std::string command_id;        ///< 16 bytes.
  std::string hash;              ///< 32 bytes.

  bool operator==(const EventRecord&) const = default;
};

}  // namespace dbcache::store
