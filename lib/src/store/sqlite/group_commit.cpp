#include "store/sqlite/group_commit.hpp"

#include <sqlite3.h>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/checkpointer.hpp"
#include "store/sqlite/sqlite_tables.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store::sqlite {
namespace {

/// Whether SQLite's last error is a failed sync.
bool is_failed_sync(Connection& connection) {
  return Connection::is_failed_sync(sqlite3_extended_errcode(connection.database().getHandle()));
}

/// From the WAL-index, whose words are described at https://www.sqlite.org/walformat.html, 2.1.
WalSync::WalContent content_of_wal(Connection& connection) {
  const auto header = connection.wal_index_header();
  if (!header) return std::nullopt;
  const std::uint32_t frames = (*header)[4];
  return frames == 0 ? 0 : std::uint64_t{(*header)[6]} << 32 | (*header)[7];
}

/// A copy of the error, text and all: each thread throws and drops an object of its own.
std::exception_ptr copy_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const StorageFailure& failure) {
    return std::make_exception_ptr(StorageFailure(std::string(failure.what()), failure.outcome()));
  } catch (const CorruptDatabase& corrupt) {
    return std::make_exception_ptr(CorruptDatabase(std::string(corrupt.what())));
  } catch (...) {
    return error;
  }
}

/// Gives the error to each write that has none of its own.
void fail(const WriteQueue::Batch& batch, const std::exception_ptr& error) {
  for (QueuedWrite* const write : batch) {
    if (!write->error) write->error = copy_of(error);
  }
}

}  // namespace

/// The result of one transaction with several writes.
struct GroupCommit::Outcome {
  bool done = true;  ///< False: it was undone as a whole, and each write must be tried by itself.
  bool changed = false;
  Sync sync = Sync::as_configured;
};

/// This thread's lead among those that want to write.
class GroupCommit::Lead {
 public:
  Lead(WriteQueue& queue, Turn& turn) : queue_(queue), turn_(turn) {}
  ~Lead() {
    if (leads_) queue_.pass_on();
  }
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;

  /// Gives the turn to other processes, or stops waiting for it. Holding a pass.
  void leave_turn() noexcept {
    if (leads_) turn_.leave();
  }
  /// Gives the lead to another thread too.
  void end() noexcept {
    leave_turn();
    if (std::exchange(leads_, false)) queue_.pass_on();
  }

 private:
  WriteQueue& queue_;
  Turn& turn_;
  bool leads_ = true;
};

GroupCommit::GroupCommit(const EngineOptions& options, SessionPool& pool,
                         const rows::Liveness& liveness)
    : options_(options),
      pool_(pool),
      liveness_(liveness),
      turn_(options.database),
      signal_(options.database) {}

void GroupCommit::write(std::optional<Timestamp> now, const WriteWork& work,
                        Engine::Grouping grouping) {
  LockWait wait(options_);
  QueuedWrite own(now, &work, grouping);
  if (queue_.enter(own, wait.deadline())) {
    queue_.gather();
    with_turn(wait, [&](Lead& lead) { commit_together(own, lead); });
  }
  if (own.error) std::rethrow_exception(own.error);
}

void GroupCommit::with_writer(const std::function<void(Connection&)>& work) {
  LockWait wait(options_);
  QueuedWrite own(std::nullopt, nullptr);
  static_cast<void>(queue_.enter(own, wait.deadline()));  // no other thread can do this one
  with_turn(wait, [&](Lead&) {
    close_after_failed_sync();
    Loan session(pool_, SessionPool::Use::writing, SessionPool::Missing::leave, std::nullopt);
    follow_replacement();
    if (!session) return;
    const auto state = share_state(session->file);
    WalSync wal_sync(*state);
    mend_after_failed_sync(*session, wal_sync);
    try {
      session.with([&] { work(session->connection); });
    } catch (const SQLite::Exception&) {
      if (is_failed_sync(session->connection)) wal_sync.failed();
      throw;
    }
  });
}

// ---- The turn

void GroupCommit::with_turn(LockWait& wait, const std::function<void(Lead&)>& attempt) {
  Lead lead(queue_, turn_);
  for (;;) {
    bool taken = false;
    Turn::Pause pause;
    {
      const system::ForkGate::Pass pass;
      struct Leave {
        Lead& lead;
        bool go_on_waiting = false;
        ~Leave() {
          if (!go_on_waiting) lead.leave_turn();
        }
      } leave{lead};
      taken = try_take_turn();
      if (taken && try_once([&] { attempt(lead); })) return;
      wait.throw_if_over();
      leave.go_on_waiting = !taken;
      pause = turn_.pause();
    }
    if (taken) {
      wait.pause();
    } else {
      pause.sleep(wait.left());
    }
  }
}

bool GroupCommit::try_take_turn() {
  follow_replacement();
  if (!turn_.is_open()) {
    if (!find_database(options_.database)) create_directories_for(options_.database);
    require_usable(options_.database);
  }
  return turn_.try_take();
}

bool GroupCommit::try_once(const std::function<void()>& attempt) const {
  try {
    attempt();
    return true;
  } catch (const DatabaseLocked&) {
    return false;
  } catch (const SQLite::Exception& error) {
    try {
      throw_typed(error, options_.database);
    } catch (const DatabaseLocked&) {
      return false;
    }
  }
}

// ---- Transactions

void GroupCommit::commit_together(const QueuedWrite& own, Lead& lead) {
  close_after_failed_sync();
  Loan session(pool_, SessionPool::Use::writing, SessionPool::Missing::create, own.now);
  follow_replacement();
  const auto state = share_state(session->file);
  WalSync wal_sync(*state);
  mend_after_failed_sync(*session, wal_sync);

  WriteQueue::Batch batch;
  Outcome outcome;
  do {
    batch = queue_.take();
    try {
      outcome = commit(session, wal_sync, batch, Savepoints::none);
      if (!outcome.done) outcome = commit(session, wal_sync, batch, Savepoints::each);
    } catch (...) {
      queue_.put_back(batch);
      throw;
    }
    if (!outcome.done) queue_.put_back_alone(batch);
  } while (!outcome.done);

  // A write that changed nothing may have seen what others have just committed.
  const auto wal = content_of_wal(session->connection);
  const auto ticket = outcome.changed ? wal_sync.number_commit(wal) : wal_sync.last_commit(wal);
  const bool must_sync =
      options_.durability == Durability::full || (outcome.changed && outcome.sync == Sync::always);
  bool move_wal = outcome.changed && Checkpointer(*state, session->connection).after_commit();
  lead.leave_turn();

  // From here on nothing may be thrown, since other threads' writes are done too. This thread leads
  // until they are on disk: writes that come meanwhile are then committed together.
  if (must_sync) {
    try {
      wal_sync.wait(ticket, [&] { session->connection.sync_wal(options_.database); });
    } catch (...) {
      session.broken();
      move_wal = false;  // a checkpoint would take lost pages for written ones
      fail(batch, std::current_exception());
    }
  }
  // Those woken look again, and change nothing: that must not wake the others in turn.
  if (outcome.changed) signal_.raise();
  if (move_wal) {
    // The connection goes with the lead: the next thread to lead needs one.
    lead.end();
    WriteQueue::finish(batch, own);
    Checkpointer(*state, session->connection).move();
  } else {
    session.give_back();
    lead.end();
    WriteQueue::finish(batch, own);
  }
}

GroupCommit::Outcome GroupCommit::commit(Loan& session, WalSync& wal_sync,
                                         const WriteQueue::Batch& batch, Savepoints savepoints) {
  const bool several = batch.size() > 1;
  const bool each = several && savepoints == Savepoints::each;
  Connection& connection = session->connection;
  Outcome outcome;
  for (QueuedWrite* const write : batch) write->error = nullptr;
  try {
    Connection::Transaction transaction(connection, Connection::Transaction::Kind::writing);
    session.require_present_schema();
    if (wal_sync.failures() != 0) throw DatabaseLocked{};  // new since the last look: mend it first
    const auto before = connection.database().getTotalChanges();
    for (QueuedWrite* const write : batch) {
      try {
        if (each) connection.run("SAVEPOINT one_write");
        SqliteTables tables(connection);
        WriteSession view{tables, session->log, liveness_, write->now.value_or(wall_clock())};
        const Sync sync = (*write->work)(view);
        if (each) connection.run("RELEASE one_write");
        if (sync == Sync::always) outcome.sync = sync;
      } catch (...) {
        write->error = typed_error(session);
        outcome.done = !several || (each && transaction.is_open());
        if (!several || !outcome.done) return outcome;
        connection.run("ROLLBACK TO one_write");
        connection.run("RELEASE one_write");
      }
    }
    outcome.changed = connection.database().getTotalChanges() != before;
    try {
      if (outcome.changed) wal_sync.begin_commit();
      transaction.commit();
    } catch (...) {
      if (is_failed_sync(connection)) wal_sync.failed();
      const auto error = typed_error(session, true);
      fail(batch, error);
      outcome.changed = false;
    }
  } catch (const SQLite::Exception& error) {
    if (error.getErrorCode() != SQLITE_BUSY) session.broken();
    throw;
  }
  return outcome;
}

std::exception_ptr GroupCommit::typed_error(Loan& session, bool committing) const {
  try {
    try {
      throw;
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_BUSY) session.broken();
      throw_typed(error, options_.database, committing);
    }
  } catch (const DatabaseLocked&) {
    throw;
  } catch (const StorageFailure&) {
    session.broken();
    return std::current_exception();
  } catch (...) {
    return std::current_exception();
  }
}

// ---- Failed syncs, and the words that processes share

std::shared_ptr<SharedState> GroupCommit::share_state(const FileIdentity& file) {
  const std::lock_guard lock(mutex_);
  if (!state_ || state_->database() != file) {
    // First, since the database's owner could not use a file that another user makes beside it.
    require_usable(options_.database);
    state_ = SharedState::open(options_.database, file);
    turn_.wake_by(state_);
  }
  return state_;
}

void GroupCommit::follow_replacement() {
  const std::uint64_t replacements = pool_.replacements();
  const std::lock_guard lock(mutex_);
  if (std::exchange(replacements_, replacements) == replacements) return;
  turn_.close();  // by now others may take theirs on another file
  state_.reset();
}

void GroupCommit::close_after_failed_sync() {
  {
    const std::lock_guard lock(mutex_);
    if (!state_ || WalSync(*state_).failures() == 0) return;
  }
  pool_.close_idle();
}

void GroupCommit::mend_after_failed_sync(Session& session, WalSync& wal_sync) const {
  const auto failures = wal_sync.failures();
  if (failures == 0) return;
  // This writes the content of the WAL once more, into the database, and syncs it there.
  if (!session.connection.empty_wal()) throw DatabaseLocked{};
  if (!session.connection.is_whole()) {
    throw CorruptDatabase(fmt::format(
        "the database {} is damaged: what was written before a sync of its WAL failed is not all "
        "there; check the disk, and restore the database as docs/operations.md says",
        options_.database));
  }
  wal_sync.mended(failures);
}

// ---- Around a fork

void GroupCommit::close_files() noexcept {
  turn_.close();
  signal_.close();
  if (state_) state_->close_file();
  state_.reset();
}

void GroupCommit::lock_for_fork() {
  queue_.lock_for_fork();
  mutex_.lock();
}

void GroupCommit::unlock_in_parent() {
  mutex_.unlock();
  queue_.unlock_in_parent();
}

void GroupCommit::reset_in_child() {
  // The parent's locks, if it holds any, must not outlive it in here.
  turn_.close_in_child();
  close_files();
  mutex_.unlock();
  queue_.reset_in_child();
}

}  // namespace dbcache::store::sqlite
