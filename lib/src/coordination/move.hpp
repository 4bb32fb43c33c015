#pragma once

#include <cstddef>
#include <functional>

#include <dbcache/move.hpp>

#include "store/store.hpp"

namespace dbcache::coordination {

/// How a move is cut into transactions.
struct MoveSteps {
  std::size_t page = store::page_size;  ///< Events copied in one.
  /// Called after each of them: a move may end there, and tests end it.
  std::function<void()> committed{};
};

/// As move_log() of <dbcache/move.hpp> says, on stores.
MoveReport move(store::Store& from, store::Store& to, const MoveOptions& options = {},
                const MoveSteps& steps = {});

/// As cancel_move() says.
bool cancel_move(store::Store& from);

}  // namespace dbcache::coordination
