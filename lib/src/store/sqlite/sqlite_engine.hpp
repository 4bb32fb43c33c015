#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "store/engine.hpp"
#include "store/sqlite/commit_signal.hpp"
#include "store/sqlite/connection.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/lock_file.hpp"
#include "store/sqlite/shared_state.hpp"
#include "store/sqlite/turn.hpp"
#include "store/sqlite/wal_sync.hpp"
#include "store/sqlite/write_queue.hpp"
#include "system/fork_gate.hpp"
#include "text/utf8.hpp"

namespace dbcache::store::sqlite {

/// The embedded engine: one writing connection and a few reading ones, opened when first needed.
class SqliteEngine final : public Engine, private system::ForkAware {
 public:
  explicit SqliteEngine(EngineOptions options);
  ~SqliteEngine() override;

  void write(std::optional<Timestamp> now, const WriteWork& work, Company company,
             Reach reach) override;
  bool read(std::optional<Timestamp> now, const ReadWork& work,
            Patience patience = std::nullopt) override;
  std::optional<StateId> state() override;
  bool exists() override;
  std::string name() const override { return text::to_valid_utf8(options_.database); }
  std::optional<std::string> identity() override;
  Timestamp now() override;
  std::unique_ptr<LifeLock> hold() override;
  std::unique_ptr<Wakeup> watch_holder(const rows::Holder& holder) override;
  std::unique_ptr<Wakeup> watch_commits() override;
  void optimize(Vacuum vacuum) override;
  DatabaseInfo info() override;
  [[nodiscard]] DatabaseLocation location() const override;
  std::int64_t schema_version() const override;
  std::optional<AdoptionReport> adoption() const override;

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Session;
  class Loan;
  using SessionPointer = std::unique_ptr<Session>;

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;
  void close_side_files() noexcept;

  class Lead;
  struct Outcome;

  /// For who leads: runs `attempt` holding a pass and the turn to write, until no lock stops it.
  /// Nobody leads, or another, when it returns.
  void with_turn(Deadline until, const std::function<void(Lead&)>& attempt);
  /// Runs `work` alone, with the writing connection; nothing where there is no database.
  void with_writer(const std::function<void(Connection&)>& work);
  /// Commits this thread's write and those behind it, and waits until they are on disk.
  void commit_together(const QueuedWrite& own, Lead& lead);
  /// One transaction. A write that fails is told so, and leaves the others as they are; that takes
  /// savepoints, which cost as much as a write, so it is tried without them first.
  enum class Savepoints { none, each };
  Outcome commit(Loan& session, WalSync& wal_sync, const WriteQueue::Batch& batch,
                 Savepoints savepoints);
  /// What is being handled, as users see it. Throws DatabaseLocked.
  std::exception_ptr typed_error(Loan& session, bool committing = false) const;
  /// Inside a transaction.
  static void require_present_schema(Loan& session);

  std::shared_ptr<SharedState> share_state(const FileIdentity& file);
  void close_after_failed_sync();
  /// Makes sure that what was committed before a sync failed is on disk.
  void mend(Session& session);

  /// Nothing where a lock stood in the way.
  std::optional<bool> try_read(std::optional<Timestamp> now, const ReadWork& work);
  bool read_once(std::optional<Timestamp> now, const ReadWork& work);

  /// An idle session on the file that the path leads to now, or a new one; nothing where there is
  /// no database. `create` makes and migrates one.
  enum class Missing { leave, create };
  SessionPointer take(std::vector<SessionPointer>& idle, Missing missing,
                      std::optional<Timestamp> now);
  /// Lets go of the file that the path led to before. Throws StorageFailure where its WAL stands
  /// beside the new one.
  void forget_replaced(const std::optional<FileIdentity>& file);
  SessionPointer open(Missing missing, std::optional<Timestamp> now);
  void give_back(std::vector<SessionPointer>& idle, SessionPointer session);

  [[nodiscard]] Deadline deadline() const;
  void wait_for_lock(Deadline deadline, int attempt) const;

  const EngineOptions options_;
  WriteQueue queue_;
  Turn turn_;  ///< Used by whoever leads the queue.
  CommitSignal signal_;
  LockFile locks_;
  mutable std::mutex mutex_;  // guards what follows
  struct Opened {
    FileIdentity database;
    std::optional<FileIdentity> wal;
  };
  std::optional<Opened> opened_;  ///< Kept while nothing is open: over a fork, say.
  std::shared_ptr<SharedState> state_;
  std::uint64_t sessions_ = 0;  ///< Opened so far.
  std::vector<SessionPointer> idle_writers_;
  std::vector<SessionPointer> idle_readers_;
  std::optional<AdoptionReport> adoption_;
};

}  // namespace dbcache::store::sqlite
