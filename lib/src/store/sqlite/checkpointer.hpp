#pragma once

#include "store/sqlite/connection.hpp"
#include "store/sqlite/wal_sync.hpp"

namespace dbcache::store::sqlite {

/// Keeps the WAL short, whoever writes: reading grows slower with it, and the disk fuller.
///
/// Once it has `due_at` frames, one who has committed moves it into the database while others go on
/// writing. What they add meanwhile keeps SQLite from beginning the WAL anew, so the next committer
/// moves that, little as it is, while it still has the turn to write. Where readers stand in the
/// way of that again and again, and the WAL has `most` frames, a committer waits for them a moment.
class Checkpointer {
 public:
  static constexpr std::uint32_t due_at = 1000;  ///< Of 4 KiB each: SQLite's own default.
  static constexpr std::uint32_t most = 5000;
  static constexpr std::chrono::milliseconds patience{100};

  Checkpointer(SharedState& state, Connection& connection)
      : words_(state.words()), sync_(state), connection_(connection) {}

  /// After a commit, with the turn to write. Whether `move` is due, without it.
  [[nodiscard]] bool after_commit();
  void move();

 private:
  void note(int result);

  SharedState::Words& words_;
  WalSync sync_;
  Connection& connection_;
};

}  // namespace dbcache::store::sqlite
