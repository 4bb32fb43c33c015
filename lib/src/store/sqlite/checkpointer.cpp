#include "store/sqlite/checkpointer.hpp"

#include <algorithm>

namespace dbcache::store::sqlite {

bool Checkpointer::after_commit() {
  const std::uint32_t frames = connection_.wal_frames();
  if (frames < words_.wal_frames.exchange(frames)) {
    // SQLite has begun the WAL anew.
    words_.checkpoint_at = due_at;
    words_.moved = 0;
  }
  if (frames >= most && frames >= words_.checkpoint_at.load()) {
    words_.checkpoint_at = frames + due_at / 10;
    note(connection_.restart_wal(patience));
  } else if (words_.moved.exchange(0) != 0) {
    note(connection_.move_wal());
  } else if (frames >= std::max(words_.checkpoint_at.load(), due_at)) {
    words_.checkpoint_at = frames + due_at;
    return true;
  }
  return false;
}

void Checkpointer::move() {
  int moved = 0;
  note(connection_.move_wal(&moved));
  // If nobody has committed meanwhile, the next commit begins the WAL anew and resets this.
  words_.moved = static_cast<std::uint32_t>(std::max(moved, 0));
}

/// Frames that could not be moved stay in the WAL for the next try. A failed sync is different: it
/// may have lost some of them.
void Checkpointer::note(int result) {
  if (Connection::is_failed_sync(result)) sync_.failed();
}

}  // namespace dbcache::store::sqlite
