#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "store/postgres/connect.hpp"

namespace dbcache::store::postgres {

/// Which servers will do.
enum class Wanted {
  primary,      ///< One that is no standby.
  takes_writes  ///< And whose transactions may write by default.
};

/// What libpq has connected, with one of the URL's hosts. `host_timeout`: see connect(). Throws
/// ConnectionLost if another attempt may succeed, else a typed error.
Connection::Handle shake_hands(const Target& target,
                               std::optional<std::chrono::seconds> host_timeout, Wanted wanted);

}  // namespace dbcache::store::postgres
