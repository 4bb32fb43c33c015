#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "store/sqlite/files.hpp"

namespace dbcache::store::sqlite {

/// A few words of memory by which the processes that write one database inform each other: the
/// small file `DATABASE-sync`, mapped. The file is valid for one database file and one boot. A file
/// of another boot or database is unlinked and never overwritten, since somebody may still use it.
///
/// A process that cannot use the file has words of its own, and so has each group of processes if
/// somebody deletes the file. A commit is on disk all the same before it is acknowledged. But
/// processes with other words do not learn of a failed sync.
class SharedState {
 public:
  struct Words {
    /// The last commit's number, and the last one's that is on disk. WalSync has the rules.
    alignas(64) std::atomic<std::uint64_t> committed;
    std::atomic<std::uint32_t> unnumbered;  ///< 1: there may be a commit without a number.
    /// WalSync::WalContent, all of whose commits are covered by `committed`.
    std::atomic<std::uint64_t> numbered_wal;
    alignas(64) std::atomic<std::uint64_t> synced;
    std::atomic<std::uint32_t> syncs;              ///< Slept on until another has synced.
    std::atomic<std::uint32_t> waiting_for_syncs;  ///< At least as many as wait.
    /// While it is not 0, nobody writes before the database is mended.
    std::atomic<std::uint32_t> failed_syncs;

    alignas(64) std::atomic<std::uint32_t> turns;  ///< Slept on until the turn to write is free.
    std::atomic<std::uint32_t> waiting_for_turns;
    std::atomic<std::uint32_t> tickets;        ///< How many were handed out to those in line.
    std::atomic<std::uint32_t> first_in_line;  ///< The ticket whose turn comes next.
    std::atomic<std::uint32_t> passed;         ///< 1 + the ticket that another has passed by.

    /// Checkpointer has the rules.
    alignas(64) std::atomic<std::uint32_t> wal_frames;
    std::atomic<std::uint32_t> checkpoint_at;
    std::atomic<std::uint32_t> moved;  ///< By the first pass, whose second one is to come.

    /// When the next sweep is due: nanoseconds since the boot. A time too far ahead counts as past.
    alignas(64) std::atomic<std::uint64_t> sweep_due;
    /// About how many life locks there are. A sweep sets it right.
    std::atomic<std::uint32_t> life_locks;
  };

  /// The state of this database file. The first process makes it. Where the file cannot be used,
  /// the state belongs to this process, and works for its threads.
  static std::shared_ptr<SharedState> open(const std::string& database, const FileIdentity& file);

  /// Whether the file beside this name of the database is that of this database file, and was made
  /// in this directory.
  [[nodiscard]] static bool is_beside(const std::string& database, const FileIdentity& file);

  ~SharedState();
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;

  [[nodiscard]] Words& words() { return *words_; }
  [[nodiscard]] const FileIdentity& database() const { return database_; }

  /// The right to sync for everybody. One thread of one process has it at a time, which only saves
  /// work. Never waits.
  [[nodiscard]] bool try_lock_sync();
  void unlock_sync() noexcept;

  /// As Engine::claim_sweep() and swept().
  [[nodiscard]] bool claim_sweep(std::chrono::nanoseconds overdue);
  void swept(std::chrono::nanoseconds pause, std::size_t holders);

  /// Counts a life lock as long as it lives. Returns how many there were.
  std::uint32_t count_life_lock() { return words_->life_locks++; }
  void uncount_life_lock();

  /// Around a fork: a child must not keep the descriptor, since all its copies share one lock. From
  /// then on only the words may be used.
  void close_file() noexcept;

 private:
  explicit SharedState(const FileIdentity& database) : database_(database) {}
  bool map(const std::string& database);

  FileIdentity database_;
  int file_ = -1;
  void* memory_ = nullptr;  ///< Mapped; else `own_` is used.
  std::unique_ptr<Words> own_;
  Words* words_ = nullptr;
  std::atomic_flag syncing_;  ///< The file's lock belongs to the process, not to a thread.
};

}  // namespace dbcache::store::sqlite
