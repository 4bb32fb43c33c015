#pragma once

#include <cstddef>

#include "store/store.hpp"

namespace dbcache::coordination {

/// Finds the holders that died, and what has expired, in read transactions of a page each. Then
/// ends what they held, in a short write transaction for each configuration, termination and
/// participant, which decides anew. Writes nothing if there is nothing to do, or if the log is
/// closed. Returns how many holders it looked at. `patience`: how long to wait for a database that
/// is out of reach.
std::size_t sweep(store::Store& store, store::Engine::Patience patience = std::nullopt);

}  // namespace dbcache::coordination
