#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "store/engine.hpp"
#include "store/sqlite/commit_signal.hpp"
#include "store/sqlite/lock_wait.hpp"
#include "store/sqlite/session_pool.hpp"
#include "store/sqlite/shared_state.hpp"
#include "store/sqlite/turn.hpp"
#include "store/sqlite/wal_sync.hpp"
#include "store/sqlite/write_queue.hpp"

namespace dbcache::store::sqlite {

/// Writes of this process. The threads stand in a queue. The first one leads: it takes the turn
/// among processes, commits its own write and those behind it in one transaction, and waits until
/// that is on disk. Then the next one leads. Thread-safe.
class GroupCommit {
 public:
  /// All three must outlive it.
  GroupCommit(const EngineOptions& options, SessionPool& pool, const rows::Liveness& liveness);
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  /// As Engine::write.
  void write(std::optional<Timestamp> now, const WriteWork& work, Engine::Grouping grouping);

  /// Runs `work` with the writing connection while no other thread writes. Does nothing where there
  /// is no database.
  void with_writer(const std::function<void(Connection&)>& work);

  /// Wakes after commits. `may_make`: whether the file to watch may be created.
  [[nodiscard]] std::unique_ptr<Wakeup> watch(bool may_make) const {
    return signal_.watch(may_make);
  }

  /// The counters of this database file, which its processes share. The caller holds a pass.
  std::shared_ptr<SharedState> share_state(const FileIdentity& file);

  /// Closes the files beside the database. Holding a pass, or around a fork.
  void close_files() noexcept;

  // Around a fork. The queue stands still from the first call to the last.
  void lock_for_fork();
  void unlock_in_parent();
  /// Closes the files too.
  void reset_in_child();

 private:
  using Loan = SessionPool::Loan;

  class Lead;
  struct Outcome;

  /// For the thread that leads. Calls `attempt` with a pass and the turn, again and again until no
  /// lock stops it. This thread no longer leads when it returns.
  void with_turn(LockWait& wait, const std::function<void(Lead&)>& attempt);
  /// Opens the turn's file first where it is closed.
  bool try_take_turn();
  /// False where a lock stopped it.
  bool try_once(const std::function<void()>& attempt) const;

  /// Commits this thread's write and those behind it, and waits until they are on disk.
  void commit_together(const QueuedWrite& own, Lead& lead);
  /// One transaction. A write that fails gets its error and must not undo the others. That takes
  /// savepoints, which cost as much as a write, so the first try is without them.
  enum class Savepoints { none, each };
  Outcome commit(Loan& session, WalSync& wal_sync, const WriteQueue::Batch& batch,
                 Savepoints savepoints);
  /// The exception being handled, as users see it. Throws DatabaseLocked.
  std::exception_ptr typed_error(Loan& session, bool committing = false) const;

  /// Lets go of what belongs to a file that the pool has seen replaced.
  void follow_replacement();
  /// Closes connections that may take lost pages for written ones.
  void close_after_failed_sync();
  /// Where a sync has failed: makes sure that everything committed before is on disk. Throws
  /// DatabaseLocked where others stand in the way, and CorruptDatabase where something is lost.
  void mend_after_failed_sync(Session& session, WalSync& wal_sync) const;

  const EngineOptions& options_;
  SessionPool& pool_;
  const rows::Liveness& liveness_;

  WriteQueue queue_;
  Turn turn_;  ///< Only the thread that leads uses it.
  CommitSignal signal_;
  std::mutex mutex_;  // guards what follows
  std::shared_ptr<SharedState> state_;
  std::uint64_t replacements_ = 0;  ///< The pool's, when the state was last let go of.
};

}  // namespace dbcache::store::sqlite
