#pragma once

#include <cstddef>
#include <functional>

#include <dbcache/move.hpp>

#include "store/store.hpp"

namespace dbcache::coordination {

/// How a move is cut into transactions.
struct MoveSteps {
  std::size_t page = store::page_size;  ///< Events copied in one transaction.
  /// Called after each transaction. A move may be killed there, and tests do so.
  std::function<void()> committed{};
};

/// move_log() of <dbcache/move.hpp>, on stores.
MoveReport move(store::Store& from, store::Store& to, const MoveOptions& options = {},
                const MoveSteps& steps = {});

/// cancel_move() of <dbcache/move.hpp>, on a store.
bool cancel_move(store::Store& from);

}  // namespace dbcache::coordination
