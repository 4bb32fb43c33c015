#include "coordination/move.hpp"

#include <dbcache/move.hpp>

#include "coordination/open_store.hpp"

namespace dbcache {

MoveReport move_log(const Options& from, const Options& to, const MoveOptions& options) {
  const auto source = coordination::open_store(from);
  store::Store target(to);
  return coordination::move(*source, target, options);
}

bool cancel_move(const Options& from) {
  return coordination::cancel_move(*coordination::open_store(from));
}

}  // namespace dbcache
