#include "store/sqlite/held_places.hpp"

#include <chrono>
#include <exception>
#include <fcntl.h>
#include <thread>
#include <utility>

#include <sys/stat.h>

#include "store/sqlite/ofd_lock.hpp"
#include "system/detached_thread.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store::sqlite {
namespace {

/// Shorter than 5 s, to be done by then.
constexpr std::chrono::milliseconds between_looks_at_files{4000};

constexpr std::chrono::milliseconds rest_with_nothing_held{50};

}  // namespace

HeldPlaces::Handle HeldPlaces::add(Place place) {
  const std::lock_guard lock(mutex_);
  places_.push_front(std::move(place));
  if (!is_watching_) start_watching();
  return places_.begin();
}

void HeldPlaces::remove(Handle place) {
  std::list<Place> removed;  // closed without the mutex
  const std::lock_guard lock(mutex_);
  removed.splice(removed.end(), places_, place);
  if (places_.empty()) emptied_.notify_one();
}

void HeldPlaces::end_work(Handle place) {
  const std::lock_guard lock(mutex_);
  place->is_busy = false;
  for (const OpenedLocks& file : place->files) {
    if (file.descriptor.get() >= 0) set_ofd_lock(file.descriptor.get(), F_UNLCK, place->byte + 1);
  }
}

int HeldPlaces::descriptor(Handle place) {
  const std::lock_guard lock(mutex_);
  return place->files.back().descriptor.get();
}

void HeldPlaces::follow_files() {
  const std::lock_guard lock(mutex_);
  // In a directory that was emptied nothing is made.
  struct stat status {};
  if (::stat(database_.c_str(), &status) != 0) return;
  for (Place& place : places_) {
    if (place.files.back().is_at(path_of_locks(database_, place.number))) continue;
    try {
      OpenedLocks opened = open_locks(database_, place.number, MissingId::make);
      if (set_ofd_lock(opened.descriptor.get(), F_WRLCK, place.byte, Waiting::no,
                       place.is_busy ? 2 : 1)) {
        place.files.push_back(std::move(opened));
      }
    } catch (const std::exception&) {
      // The next look tries again.
    }
  }
}

void HeldPlaces::start_watching() {
  is_watching_ = system::start_detached("dbcache-locks", [self = shared_from_this()] {
    while (self->wait_for_a_look()) self->look();
  });
}

/// The thread stays for a moment when nothing is held any more, since something else may be soon;
/// but not for long, so that a process that has let everything go forks with its own threads alone.
bool HeldPlaces::wait_for_a_look() {
  const auto look = std::chrono::steady_clock::now() + between_looks_at_files;
  std::unique_lock lock(mutex_);
  while (emptied_.wait_until(lock, look, [this] { return places_.empty(); })) {
    lock.unlock();
    std::this_thread::sleep_for(rest_with_nothing_held);
    lock.lock();
    is_watching_ = !places_.empty();
    if (!is_watching_) return false;
  }
  return true;
}

void HeldPlaces::look() {
  try {
    const system::ForkGate::Pass pass;
    follow_files();
  } catch (const std::exception&) {
    // The next look tries again.
  }
}

}  // namespace dbcache::store::sqlite
