#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "rows/present.hpp"
#include "store/engine.hpp"
#include "store/sqlite/held_places.hpp"
#include "store/sqlite/opened_locks.hpp"
#include "store/sqlite/shared_state.hpp"
#include "system/process.hpp"

namespace dbcache::store::sqlite {

/// The files beside the database (`DATABASE-locks`, and more where there are many holders:
/// `DATABASE-locks-NUMBER`) in which holders lock bytes. A holder has a
/// lease, a creation, a termination or a place in a run. The locks belong to open file descriptions
/// (fcntl(2)): the kernel frees them with the last process that has the descriptor, in any PID
/// namespace.
///
/// Each holder locks two bytes at a random place: the first while it lives, the next while it is
/// busy, which is the one that waiters block on. No place is used twice, so a thread that still
/// waits for an old lock does no harm. The file holds a random id, which the log records beside the
/// place. If somebody deletes or replaces the file, the holders follow within seconds (HeldPlaces);
/// until then, and where they cannot, they are judged by their processes.
///
/// Thread-safe. It needs no connection, and holds none while it waits.
class LockFile final : public rows::Liveness {
 public:
  /// The options must outlive it.
  explicit LockFile(const EngineOptions& options) : options_(options) {}

  /// Throws Busy where another process makes the file and does not finish within the busy timeout.
  /// `counters`: those of the database, if there is one.
  [[nodiscard]] std::unique_ptr<LifeLock> take_lock(std::shared_ptr<SharedState> counters);
  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override;
  [[nodiscard]] std::optional<system::BootTime> boot_time() const override;
  [[nodiscard]] std::unique_ptr<Wakeup> watch(const rows::Holder& holder) const;

 private:
  class Counted;
  class LockedPlace;

  /// Nothing while another process makes the file. On success takes `counted`.
  std::unique_ptr<LifeLock> try_hold(std::uint32_t number, std::unique_ptr<Counted>& counted) const;
  [[nodiscard]] std::string path(std::uint32_t number) const;
  /// Whether the holder's process, which lives, has let go of the place, as it has where a backup
  /// brought back what it held when that was made. `probing`: of the file that is there now.
  [[nodiscard]] static bool has_let_go(const rows::Holder& holder, const OpenedLocks& probing);
  [[nodiscard]] OpenedLocks open_to_probe(std::uint32_t number) const;
  [[nodiscard]] std::shared_ptr<HeldPlaces> held_places() const;

  class Freed;
  class FreedWakeup;

  const EngineOptions& options_;
  mutable std::mutex mutex_;  // guards what follows; taken with a system::ForkGate::Pass
  mutable std::shared_ptr<HeldPlaces> held_;
  mutable std::map<std::uint32_t, OpenedLocks> probing_;          ///< By their numbers.
  mutable std::map<std::int64_t, std::weak_ptr<Freed>> watched_;  ///< By place: one thread each.
};

}  // namespace dbcache::store::sqlite
