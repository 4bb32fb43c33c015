#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dbcache/errors.hpp>

#include "store/engine.hpp"
#include "store/sqlite/connection.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/sqlite_event_log.hpp"

namespace dbcache::store::sqlite {

/// The engine's clock.
inline Timestamp wall_clock() {
  return std::chrono::floor<Timestamp::duration>(std::chrono::system_clock::now());
}

/// A connection, and the log that is read and written through it.
struct Session {
  Session(const std::string& path, Connection::Mode mode) : connection(path, mode) {}

  Connection connection;
  SqliteEventLog log{connection};
  FileIdentity file;
  std::uint64_t serial = 0;  ///< No other session of the pool has it.
};

/// The sessions of one database: a writing one and a few reading ones. The pool opens a session,
/// and migrates the database, when somebody first needs it. Thread-safe. Callers hold a
/// system::ForkGate::Pass.
class SessionPool {
 public:
  enum class Use { writing, reading };
  enum class Missing { leave, create };  ///< What to do where there is no database.

  class Loan;

  /// Both must outlive the pool.
  SessionPool(const EngineOptions& options, const rows::Liveness& liveness);
  SessionPool(const SessionPool&) = delete;
  SessionPool& operator=(const SessionPool&) = delete;

  /// The state that a reader would see now. Nothing while no reading session is idle.
  [[nodiscard]] std::optional<StateId> state(const FileIdentity& file);

  [[nodiscard]] std::optional<AdoptionReport> adoption() const;

  /// How often the pool found another file in the database's place.
  [[nodiscard]] std::uint64_t replacements() const;

  /// Closes the idle sessions, and leaves the WAL as it is.
  void close_idle();
  /// The same at the end of the pool's life: the last one to close moves the WAL.
  void close();
  /// Forgets the sessions without closing them: they are the parent process's.
  void abandon() noexcept;

  // Around a fork. The pool is locked from the first call to the last.
  void lock_for_fork() { mutex_.lock(); }
  void close_for_fork() { close_idle_locked(); }
  void unlock_after_fork() { mutex_.unlock(); }

 private:
  using SessionPointer = std::unique_ptr<Session>;

  /// An idle session on the file that the path leads to now, or a new one. Nothing where there is
  /// no database; Missing::create makes and migrates one.
  SessionPointer take(Use use, Missing missing, std::optional<Timestamp> now);
  SessionPointer open(Missing missing, std::optional<Timestamp> now);
  /// Looks at the file and brings its schema up to date. False where it is empty and stays so.
  bool make_ready(Connection& connection, Missing missing, std::optional<Timestamp> now);
  void give_back(Use use, SessionPointer session);

  /// Lets go of the file that the path led to before. Throws StorageFailure where that file's WAL
  /// still lies beside the new one.
  void forget_replaced(const std::optional<FileIdentity>& file);
  void close_idle_locked();

  std::vector<SessionPointer>& idle(Use use) {
    return use == Use::writing ? idle_writers_ : idle_readers_;
  }

  const EngineOptions& options_;
  const rows::Liveness& liveness_;

  mutable std::mutex mutex_;  // guards what follows
  struct Opened {
    FileIdentity database;
    std::optional<FileIdentity> wal;
  };
  std::optional<Opened> opened_;  ///< Kept while no session is open, over a fork for example.
  std::uint64_t replacements_ = 0;
  std::uint64_t sessions_ = 0;  ///< Opened so far.
  std::vector<SessionPointer> idle_writers_;
  std::vector<SessionPointer> idle_readers_;
  std::optional<AdoptionReport> adoption_;
};

/// A session in use. Its destructor gives it back, unless it may itself be the cause of a failure.
class SessionPool::Loan {
 public:
  Loan(SessionPool& pool, Use use, Missing missing, std::optional<Timestamp> now)
      : pool_(pool), use_(use), session_(pool.take(use, missing, now)) {}
  ~Loan() { give_back(); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  explicit operator bool() const { return session_ != nullptr; }
  Session& operator*() const { return *session_; }
  Session* operator->() const { return session_.get(); }

  /// Keeps the session from being used again.
  void broken() { broken_ = true; }
  void give_back();

  /// Inside a transaction. Throws DatabaseLocked where a newer dbcache has migrated the database
  /// since: the next session to be opened reports it.
  void require_present_schema();

  /// Runs `work`. The session counts as broken where SQLite or the disk fails, except for locks.
  template <class Work>
  void with(Work work) {
    try {
      work();
    } catch (const SQLite::Exception& error) {
      broken_ = broken_ || error.getErrorCode() != SQLITE_BUSY;
      throw;
    } catch (const StorageFailure&) {
      broken_ = true;
      throw;
    }
  }

 private:
  SessionPool& pool_;
  const SessionPool::Use use_;
  SessionPointer session_;
  bool broken_ = false;
};

}  // namespace dbcache::store::sqlite
