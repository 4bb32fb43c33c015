#include "store/sqlite/lock_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <dbcache/errors.hpp>

#include "store/process_verdict.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/held_places.hpp"
#include "store/sqlite/lock_wait.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/sqlite/opened_locks.hpp"
#include "store/sqlite/shared_state.hpp"
#include "system/detached_thread.hpp"
#include "system/fork_gate.hpp"
#include "system/process.hpp"

namespace dbcache::store::sqlite {
namespace {

using rows::Holder;

/// Places begin behind the id. The largest offset that a lock may have is far behind the last one.
constexpr std::int64_t first_place = 4096;
constexpr std::int64_t last_place = std::int64_t{1} << 62;

std::int64_t random_place() {
  const auto bits = system::random_128_bits();
  std::uint64_t number = 0;
  std::memcpy(&number, bits.data(), sizeof number);
  const auto range = static_cast<std::uint64_t>(last_place - first_place) / 2;
  return first_place + static_cast<std::int64_t>(number % range) * 2;
}

/// The kernel looks through all locks of a file to set, probe or drop one: 10,000 in one file cost
/// 0.7 ms a lease (measured). So there is another file for about so many locks.
constexpr std::uint32_t locks_of_a_file = 32;

/// One of the files that so many locks need.
std::uint32_t any_file_of(std::uint32_t locks) {
  const std::uint32_t files = std::min(1 + locks / locks_of_a_file, most_lock_files);
  return files == 1 ? 0 : static_cast<std::uint32_t>(random_place() / 2) % files;
}

}  // namespace

/// Counts a life lock while it lives in the process that took it.
class LockFile::Counted {
 public:
  explicit Counted(std::shared_ptr<SharedState> state)
      : state_(std::move(state)), before_(state_ ? state_->count_life_lock() : 0) {}
  ~Counted() {
    if (state_ && owner_ == ::getpid()) state_->uncount_life_lock();
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  /// So many others there were.
  [[nodiscard]] std::uint32_t before() const { return before_; }

 private:
  const std::shared_ptr<SharedState> state_;
  const std::uint32_t before_;
  const pid_t owner_ = ::getpid();
};

/// A place in the file, locked by this process.
class LockFile::LockedPlace final : public LifeLock {
 public:
  LockedPlace(std::shared_ptr<HeldPlaces> held, HeldPlaces::Place place, Holder holder,
              std::unique_ptr<Counted> counted)
      : counted_(std::move(counted)),
        held_(std::move(held)),
        place_(held_->add(std::move(place))),
        holder_(std::move(holder)) {}
  ~LockedPlace() override {
    if (held_->is_ours()) held_->remove(place_);
  }
  LockedPlace(const LockedPlace&) = delete;
  LockedPlace& operator=(const LockedPlace&) = delete;

  [[nodiscard]] const Holder& holder() const override { return holder_; }
  void done() override {
    if (held_->is_ours()) held_->end_work(place_);
  }
  [[nodiscard]] int descriptor() const override {
    return held_->is_ours() ? held_->descriptor(place_) : -1;
  }

 private:
  const std::unique_ptr<Counted> counted_;
  const std::shared_ptr<HeldPlaces> held_;
  const HeldPlaces::Handle place_;
  const Holder holder_;
};

std::shared_ptr<HeldPlaces> LockFile::held_places() const {
  const std::lock_guard lock(mutex_);
  if (!held_ || !held_->is_ours()) held_ = std::make_shared<HeldPlaces>(options_.database);
  return held_;
}

std::unique_ptr<LifeLock> LockFile::take_lock(std::shared_ptr<SharedState> counters) {
  LockWait wait(options_);
  auto counted = std::make_unique<Counted>(std::move(counters));
  const std::uint32_t number = any_file_of(counted->before());
  for (;;) {
    if (auto held = try_hold(number, counted)) return held;
    if (wait.is_over()) {
      throw Busy(fmt::format(
          "another process began to make {0} and did not finish within {1} s; see who has it open "
          "(lsof {0}), and continue or end that process",
          path(number), std::chrono::duration<double>(options_.busy_timeout).count()));
    }
    wait.sleep();
  }
}

std::unique_ptr<LifeLock> LockFile::try_hold(std::uint32_t number,
                                             std::unique_ptr<Counted>& counted) const {
  const system::ForkGate::Pass pass;
  if (!may_use_file(path(number))) {
    create_directories_for(options_.database);
    // First, since the database's owner could not use a file that another user makes here.
    require_usable(options_.database);
  }
  OpenedLocks opened = open_locks(options_.database, number, MissingId::make);
  if (opened.id.empty()) return nullptr;
  Holder holder;
  holder.lock_file = name_of_file(opened.id, number);
  holder.process = system::own_process();
  holder.host = system::host_name();
  for (;;) {
    holder.lock = random_place();
    if (set_ofd_lock(opened.descriptor.get(), F_WRLCK, holder.lock, Waiting::no, 2)) break;
    if (errno != EAGAIN && errno != EACCES) {
      throw StorageFailure(fmt::format("{} cannot be locked: {}; put the database on a local disk",
                                       path(number), reason(errno)));
    }
  }
  HeldPlaces::Place place{number, holder.lock, true, {}};
  place.files.push_back(std::move(opened));
  return std::make_unique<LockedPlace>(held_places(), std::move(place), std::move(holder),
                                       std::move(counted));
}

std::string LockFile::path(std::uint32_t number) const {
  return path_of_locks(options_.database, number);
}

OpenedLocks LockFile::open_to_probe(std::uint32_t number) const {
  try {
    // Makes it, so that holders in a file before it have their grace.
    return open_locks(options_.database, number, MissingId::make);
  } catch (const StorageFailure&) {
    return open_locks(options_.database, number, MissingId::leave);
  }
}

rows::Liveness::Verdict LockFile::probe(const Holder& holder) const {
  if (holder.lock_file.empty()) return judge_process(holder.process, OtherBoot::dead);
  const std::lock_guard lock(mutex_);
  const std::uint32_t number = number_of_file(holder.lock_file);
  OpenedLocks& probing = probing_[number];
  if (probing.id.empty() || !probing.is_at(path(number))) probing = open_to_probe(number);
  // The place stays the same where the holder follows to a file that was put in place of its own.
  const auto held = ofd_lock_held_by_others(probing.descriptor.get(), F_RDLCK, holder.lock);
  if (held && *held) return Verdict::alive;
  if (held && name_of_file(probing.id, number) == holder.lock_file) return Verdict::dead;
  const Verdict process = judge_process(holder.process, OtherBoot::dead);
  if (probing.is_new()) return process == Verdict::dead ? process : Verdict::alive;
  return process == Verdict::alive && has_let_go(holder, probing) ? Verdict::dead : process;
}

bool LockFile::has_let_go(const Holder& holder, const OpenedLocks& probing) {
  // Proves that the kernel tells of locks here: some that look like Linux do not.
  const std::int64_t own = random_place();
  const int descriptor = probing.descriptor.get();
  if (!set_ofd_lock(descriptor, F_RDLCK, own)) return false;
  const bool tells = has_ofd_lock(::getpid(), own).value_or(false);
  set_ofd_lock(descriptor, F_UNLCK, own);
  return tells && has_ofd_lock(holder.process.pid, holder.lock) == false;
}

std::optional<system::BootTime> LockFile::boot_time() const {
  if (options_.has_clock_of_caller) return std::nullopt;
  return system::BootTime{system::own_process().boot_id, system::since_boot()};
}

/// Raised once a byte is let go of.
class LockFile::Freed {
 public:
  Freed() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void raise() const {
    constexpr std::uint64_t one = 1;
    if (event_.get() >= 0) static_cast<void>(!::write(event_.get(), &one, sizeof one));
  }
  void close() { event_.close(); }
  [[nodiscard]] int descriptor() const { return event_.get(); }

 private:
  system::Descriptor event_;
};

/// One wait for a byte.
class LockFile::FreedWakeup final : public Wakeup {
 public:
  explicit FreedWakeup(std::shared_ptr<const Freed> freed) : freed_(std::move(freed)) {}

  [[nodiscard]] int descriptor() const override { return freed_->descriptor(); }
  void clear() override {}  // a byte is freed once

 private:
  std::shared_ptr<const Freed> freed_;
};

std::unique_ptr<Wakeup> LockFile::watch(const Holder& holder) const {
  if (holder.lock_file.empty()) return std::make_unique<NoWakeup>();
  const system::ForkGate::Pass pass;
  const std::lock_guard lock(mutex_);
  std::erase_if(watched_, [](const auto& watched) { return watched.second.expired(); });
  auto freed = watched_[holder.lock].lock();
  // In a forked child there is no thread that would raise it.
  if (!freed || freed->descriptor() < 0) {
    const std::uint32_t number = number_of_file(holder.lock_file);
    OpenedLocks opened = open_locks(options_.database, number, MissingId::leave);
    if (name_of_file(opened.id, number) != holder.lock_file &&
        !ofd_lock_held_by_others(opened.descriptor.get(), F_RDLCK, holder.lock + 1)
             .value_or(false)) {
      return std::make_unique<NoWakeup>();
    }
    freed = std::make_shared<Freed>();
    if (freed->descriptor() < 0) return std::make_unique<NoWakeup>();
    // A thread blocks on the byte. Only a signal could interrupt fcntl(2), and signals belong to
    // the program. So a wait that is given up leaves the thread behind, for the next waits to
    // share.
    const bool started = system::start_detached(
        "dbcache-wait", [file = std::move(opened.descriptor), byte = holder.lock + 1, freed] {
          while (!set_ofd_lock(file.get(), F_RDLCK, byte, Waiting::yes) && errno == EINTR) {
          }
          freed->raise();
        });
    if (!started) freed->close();  // the waiter looks from time to time
    watched_[holder.lock] = freed;
  }
  return std::make_unique<FreedWakeup>(std::move(freed));
}

}  // namespace dbcache::store::sqlite
