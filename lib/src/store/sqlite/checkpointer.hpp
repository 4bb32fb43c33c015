#pragma once

#include "store/sqlite/connection.hpp"
#include "store/sqlite/wal_sync.hpp"

namespace dbcache::store::sqlite {

/// Keeps the WAL short for all writers. A long WAL slows readers down and fills the disk.
///
/// Once the WAL has `due_at` frames, the thread that committed last moves it into the database
/// while others go on writing. The frames that they add meanwhile keep SQLite from beginning the
/// WAL anew. So the next one to commit moves those few while it still has the turn to write.
/// Readers may prevent that again and again. Once the WAL has `most` frames, a writer therefore
/// waits for them a moment.
class Checkpointer {
 public:
  static constexpr std::uint32_t due_at = 1000;  ///< Of 4 KiB each: SQLite's own default.
  static constexpr std::uint32_t most = 5000;
  static constexpr std::chrono::milliseconds patience{100};

  Checkpointer(SharedState& state, Connection& connection)
      : words_(state.words()), sync_(state), connection_(connection) {}

  /// After a commit, with the turn to write. Returns whether `move` is due, which needs no turn.
  [[nodiscard]] bool after_commit();
  void move();

 private:
  void note(int result);

  SharedState::Words& words_;
  WalSync sync_;
  Connection& connection_;
};

}  // namespace dbcache::store::sqlite
