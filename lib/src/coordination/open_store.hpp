#pragma once

#include <memory>

#include <dbcache/options.hpp>

#include "store/store.hpp"

namespace dbcache::coordination {

/// A store that adopts the rows of the documented Python system if a database has rows but no log.
/// Throws InvalidArgument for invalid options.
std::shared_ptr<store::Store> open_store(Options options);

}  // namespace dbcache::coordination
