#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "store/sqlite/files.hpp"

namespace dbcache::store::sqlite {

/// What the processes that write one database tell each other: a few words in memory that they
/// share, the small file `DATABASE-sync`, mapped. It is of one database file and one boot: a file
/// of another is put aside, never written over, since somebody may still go by it. Where it cannot
/// be shared, or somebody deletes it, each group goes by its own: what is acknowledged is on disk
/// all the same, but of a sync that failed only those hear who share it.
class SharedState {
 public:
  struct Words {
    /// Commits, and those of them that are on disk: WalSync has the rules.
    alignas(64) std::atomic<std::uint64_t> committed;
    std::atomic<std::uint32_t> unnumbered;  ///< 1: there may be a commit that was given no number.
    alignas(64) std::atomic<std::uint64_t> synced;
    std::atomic<std::uint32_t> syncs;              ///< Slept on until another has synced.
    std::atomic<std::uint32_t> waiting_for_syncs;  ///< More than there are, at worst.
    /// Nobody writes until the database was mended.
    std::atomic<std::uint32_t> failed_syncs;

    alignas(
        64) std::atomic<std::uint32_t> turns;  ///< Slept on until the turn to write is given up.
    std::atomic<std::uint32_t> waiting_for_turns;
    std::atomic<std::uint32_t> tickets;        ///< Handed out to those in line.
    std::atomic<std::uint32_t> first_in_line;  ///< Whose turn comes next.
    std::atomic<std::uint32_t> passed;         ///< 1 + the first that was passed by another.

    /// Checkpointer has the rules.
    alignas(64) std::atomic<std::uint32_t> wal_frames;
    std::atomic<std::uint32_t> checkpoint_at;
    std::atomic<std::uint32_t> moved;  ///< By the first pass, whose second one is to come.
  };

  /// The state of this database file; made by whoever comes first. Where the file cannot be had,
  /// the state is this process's own, and works for its threads.
  static std::shared_ptr<SharedState> open(const std::string& database, const FileIdentity& file);

  ~SharedState();
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;

  [[nodiscard]] Words& words() { return *words_; }
  /// Whether other processes have the same words.
  [[nodiscard]] bool is_shared() const { return memory_ != nullptr; }
  [[nodiscard]] const FileIdentity& database() const { return database_; }

  /// The right to sync for everybody, which one thread of one process has at a time; an economy
  /// only. Never waits.
  [[nodiscard]] bool try_lock_sync();
  void unlock_sync() noexcept;

  /// Around a fork: a child must not keep the descriptor, since the lock is that of all its copies.
  /// From then on only the words are of use.
  void close_file() noexcept;

 private:
  explicit SharedState(const FileIdentity& database) : database_(database) {}
  bool map(const std::string& database);

  FileIdentity database_;
  int file_ = -1;
  void* memory_ = nullptr;  ///< Mapped; else `own_` is used.
  std::unique_ptr<Words> own_;
  Words* words_ = nullptr;
  std::atomic_flag syncing_;  ///< A lock of the file's is the process's, not a thread's.
};

}  // namespace dbcache::store::sqlite
