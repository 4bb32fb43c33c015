#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

#include "store/sqlite/opened_locks.hpp"

namespace dbcache::store::sqlite {

/// The places that this process holds in the files of locks of one database. If a file is deleted
/// or another is put in its place, a thread notices within 5 seconds and locks the same places in
/// the new file. Those who judge holders count nobody as dead by a new file before that.
///
/// Thread-safe. A forked child holds nothing of it and makes another.
class HeldPlaces : public std::enable_shared_from_this<HeldPlaces> {
 public:
  explicit HeldPlaces(std::string database) : database_(std::move(database)) {}

  /// A place that is locked in `file`, and the byte behind it while its holder is busy.
  struct Place {
    std::uint32_t number = 0;
    std::int64_t byte = 0;
    bool is_busy = true;
    /// Where it is locked; in the last file last. The others stay locked for those who have them
    /// open, and since a child that is just being started may inherit one.
    std::vector<OpenedLocks> files;
  };
  using Handle = std::list<Place>::iterator;

  [[nodiscard]] bool is_ours() const { return owner_ == ::getpid(); }

  // All with `is_ours`.
  Handle add(Place place);
  void remove(Handle place);
  void end_work(Handle place);
  [[nodiscard]] int descriptor(Handle place);

  /// Locks the places in the files that are there now.
  void follow_files();

 private:
  void start_watching();
  /// False once nothing is held.
  bool wait_for_a_look();
  void look();

  const std::string database_;
  const pid_t owner_ = ::getpid();
  std::mutex mutex_;  // guards what follows
  std::list<Place> places_;
  std::condition_variable emptied_;
  bool is_watching_ = false;
};

}  // namespace dbcache::store::sqlite
