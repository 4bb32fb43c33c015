#pragma once

#include <memory>

#include <dbcache/options.hpp>

#include "store/store.hpp"

namespace dbcache::coordination {

/// A store that adopts the rows of the documented Python system where it finds some without a log.
/// Throws InvalidArgument for options that no database could have.
std::shared_ptr<store::Store> open_store(Options options);

}  // namespace dbcache::coordination
