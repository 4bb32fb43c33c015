#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <sys/types.h>

#include "rows/present.hpp"
#include "store/engine.hpp"
#include "system/descriptor.hpp"

namespace dbcache::store::sqlite {

/// The file beside the database (`DATABASE-locks`) whose bytes are locked by whoever holds
/// something: a lease, a creation, a termination, a place in a run. Locks of open file descriptions
/// (fcntl(2)): the kernel lets go of them with the last process that has the descriptor, whatever
/// its PID namespace.
///
/// Each holder locks two bytes at a random place: one for being there, and the next for what it is
/// doing, which those who wait block on. No place is used twice, so a lock that somebody still
/// waits for harms nobody. The file holds a random id, which stands in the log beside the place: if
/// the file was replaced, holders are judged as processes.
///
/// Thread-safe. No connection is needed, and none is held while it waits.
class LockFile final : public rows::Liveness {
 public:
  explicit LockFile(std::string database) : database_(std::move(database)) {}

  [[nodiscard]] std::unique_ptr<LifeLock> hold();
  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override;
  [[nodiscard]] std::unique_ptr<Wakeup> watch(const rows::Holder& holder) const;

 private:
  /// The file as it is now: opened anew where the path leads to another one.
  struct Opened {
    system::Descriptor descriptor;
    std::string id;
    dev_t device{};
    ino_t inode{};
  };
  [[nodiscard]] Opened open() const;
  [[nodiscard]] bool is_current(const Opened& opened) const;

  class Freed;
  class FreedWakeup;

  std::string database_;
  mutable std::mutex mutex_;  // guards what follows; taken with a system::ForkGate::Pass
  mutable Opened probing_;
  mutable std::map<std::int64_t, std::weak_ptr<Freed>> watched_;  ///< By place: one thread each.
};

}  // namespace dbcache::store::sqlite
