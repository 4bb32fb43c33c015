#pragma once

#include <cstddef>
#include <functional>

#include <dbcache/move.hpp>

#include "store/store.hpp"

namespace dbcache::store {

/// A database that a log is moved into: rows that no log tells of are not adopted, but refused.
Store open_target(Options options);

/// How a move is cut into transactions.
struct MoveSteps {
  std::size_t page = page_size;  ///< Events copied in one.
  /// Called after each of them: a move may end there, and tests end it.
  std::function<void()> committed{};
};

/// As move_log() of <dbcache/move.hpp> says, on stores.
MoveReport move(Store& from, Store& to, const MoveOptions& options = {},
                const MoveSteps& steps = {});

/// As cancel_move() says.
bool cancel_move(Store& from);

}  // namespace dbcache::store
