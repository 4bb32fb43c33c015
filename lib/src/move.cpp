#include "store/move.hpp"

#include <dbcache/move.hpp>

namespace dbcache {

MoveReport move_log(const Options& from, const Options& to, const MoveOptions& options) {
  store::Store source(from);
  store::Store target = store::open_target(to);
  return store::move(source, target, options);
}

bool cancel_move(const Options& from) {
  store::Store source(from);
  return store::cancel_move(source);
}

}  // namespace dbcache
