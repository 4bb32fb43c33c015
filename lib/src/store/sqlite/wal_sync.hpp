#pragma once

#include <cstdint>
#include <functional>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// Forces commits to disk after the lock to write was let go of, one sync for all that were made
/// meanwhile, by whichever thread or process. Thread-safe. docs/performance.md argues why a commit
/// that `wait` returned for is on disk.
class WalSync {
 public:
  /// A commit's number among those of all processes.
  using Ticket = std::uint64_t;

  explicit WalSync(SharedState& state) : state_(state) {}

  /// Before COMMIT. Who dies between that and its number, or needs none, leaves others to give one.
  void begin_commit();

  /// For what was just committed. Only after COMMIT has returned: whoever syncs takes every
  /// numbered commit for one whose bytes are in the file.
  [[nodiscard]] Ticket number_commit();

  /// For whatever is seen committed now. With the turn to write.
  [[nodiscard]] Ticket last_commit();

  /// Returns once the commit is on disk. `sync` forces the WAL to disk, or throws; it is called
  /// unless another did it. Where it fails, nobody knows what is on disk: a repeated fsync(2) may
  /// succeed over pages that are lost. So everyone who waits, and everyone who would write, is told
  /// until `mended`. Throws what `sync` throws, and StorageFailure where another's failed.
  void wait(Ticket ticket, const std::function<void()>& sync);

  /// How many syncs have failed since the database was last known to be whole.
  [[nodiscard]] std::uint32_t failures() const;
  void failed();
  /// Since it had so many failures: unless there was another one meanwhile.
  void mended(std::uint32_t failures);

 private:
  void sync_for_all(Ticket ticket, const std::function<void()>& sync);

  SharedState& state_;
};

}  // namespace dbcache::store::sqlite
