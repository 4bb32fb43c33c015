#pragma once

#include <cstdint>
#include <functional>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// Syncs commits to disk once the lock to write is free again. One sync covers all commits that
/// threads and processes have made meanwhile. Thread-safe. docs/performance.md argues why a commit
/// is on disk once `wait` has returned for it.
class WalSync {
 public:
  /// A commit's number among those of all processes.
  using Ticket = std::uint64_t;

  explicit WalSync(SharedState& state) : state_(state) {}

  /// Before COMMIT. If the process dies before it numbers the commit, another one numbers it.
  void begin_commit();

  /// Numbers the commit just made. Only after COMMIT has returned: a sync covers every numbered
  /// commit, so its bytes must be in the file.
  [[nodiscard]] Ticket number_commit();

  /// Covers every commit that can be seen now. With the turn to write.
  [[nodiscard]] Ticket last_commit();

  /// Returns once the commit is on disk. `sync` syncs the WAL, or throws; it is called unless
  /// another has done so. After a failed sync nobody knows what is on disk: a repeated fsync(2) may
  /// succeed although pages are lost. So every wait fails, and nobody writes, until `mended`.
  /// Throws what `sync` throws, and StorageFailure where another's sync has failed.
  void wait(Ticket ticket, const std::function<void()>& sync);

  /// How many syncs have failed since the database was last known to be whole.
  [[nodiscard]] std::uint32_t failures() const;
  void failed();
  /// Ends that, unless another sync has failed since there were so many failures.
  void mended(std::uint32_t failures);

 private:
  void sync_for_all(Ticket ticket, const std::function<void()>& sync);

  SharedState& state_;
};

}  // namespace dbcache::store::sqlite
