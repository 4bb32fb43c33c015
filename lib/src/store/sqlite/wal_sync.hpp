#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// Syncs commits to disk once the lock to write is free again. One sync covers all commits that
/// threads and processes have made meanwhile. Thread-safe. docs/performance.md argues why a commit
/// is on disk once `wait` has returned for it.
class WalSync {
 public:
  /// A commit's number among those of all processes.
  using Ticket = std::uint64_t;

  /// Tells what the WAL holds from all that it has held before: the checksum of its last frame,
  /// which covers every frame and the WAL's random salts. The number of frames would not do: a WAL
  /// begun anew soon has as many again. 0 without frames, and nothing while another writes it.
  using WalContent = std::optional<std::uint64_t>;

  explicit WalSync(SharedState& state) : state_(state) {}

  /// Before COMMIT. If the process dies before it numbers the commit, another one numbers it.
  void begin_commit();

  /// Numbers the commit just made. Only after COMMIT has returned: a sync covers every numbered
  /// commit, so its bytes must be in the file. `wal` is read before.
  [[nodiscard]] Ticket number_commit(WalContent wal = 0);

  /// Covers every commit that could be seen when `wal` was read. With the turn to write. Processes
  /// with other words number nothing here. They have committed something if the WAL is not as it
  /// was when a number was last taken.
  [[nodiscard]] Ticket last_commit(WalContent wal = 0);

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
