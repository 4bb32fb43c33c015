#include "store/sqlite/lock_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <dbcache/errors.hpp>

#include "store/process_verdict.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/lock_wait.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/sqlite/shared_state.hpp"
#include "system/detached_thread.hpp"
#include "system/fork_gate.hpp"
#include "system/process.hpp"
#include "text/hex.hpp"

namespace dbcache::store::sqlite {
namespace {

using rows::Holder;

/// The id, in hex, at the file's beginning. Its maker locks the first byte.
constexpr std::size_t id_bytes = 32;

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

std::string read_id(int descriptor) {
  std::array<char, id_bytes> id{};
  return ::pread(descriptor, id.data(), id.size(), 0) == static_cast<ssize_t>(id.size())
             ? std::string(id.data(), id.size())
             : "";
}

/// The file's id, and makes one where there is none. Empty while another process makes it.
std::string make_id(int descriptor, const std::string& path) {
  if (auto id = read_id(descriptor); !id.empty()) return id;
  if (!set_ofd_lock(descriptor, F_WRLCK, 0)) {
    if (errno == EAGAIN || errno == EACCES) return "";
    throw StorageFailure(fmt::format("{} cannot be locked: {}; put the database on a local disk",
                                     path, reason(errno)));
  }
  auto id = read_id(descriptor);
  int error = 0;
  if (id.empty()) {
    const auto bits = system::random_128_bits();
    id = text::to_hex({reinterpret_cast<const char*>(bits.data()), bits.size()});
    const ssize_t written = ::pwrite(descriptor, id.data(), id.size(), 0);
    if (written != static_cast<ssize_t>(id.size())) error = written < 0 ? errno : ENOSPC;
  }
  set_ofd_lock(descriptor, F_UNLCK, 0);
  if (error == 0) return id;
  throw StorageFailure(
      fmt::format("{} cannot be written: {}; free some space on its disk", path, reason(error)));
}

/// The kernel looks through all locks of a file to set, probe or drop one: 10,000 in one file cost
/// 0.7 ms a lease (measured). So there is another file for about so many locks.
constexpr std::uint32_t locks_of_a_file = 32;

/// A holder names its file `ID`, or `ID.NUMBER` where it is not the first one.
std::string name_of_file(const std::string& id, std::uint32_t number) {
  return number == 0 ? id : fmt::format("{}.{}", id, number);
}
std::uint32_t number_of_file(std::string_view name) {
  const auto dot = name.find('.');
  std::uint32_t number = 0;
  if (dot != std::string_view::npos) {
    std::from_chars(name.data() + dot + 1, name.data() + name.size(), number);
  }
  return number < most_lock_files ? number : 0;
}

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
  LockedPlace(system::Descriptor descriptor, Holder holder, std::unique_ptr<Counted> counted)
      : counted_(std::move(counted)),
        descriptor_(std::move(descriptor)),
        holder_(std::move(holder)) {}

  [[nodiscard]] const Holder& holder() const override { return holder_; }
  void done() override {
    if (descriptor_.get() >= 0) set_ofd_lock(descriptor_.get(), F_UNLCK, holder_.lock + 1);
  }
  [[nodiscard]] int descriptor() const override { return descriptor_.get(); }

 private:
  const std::unique_ptr<Counted> counted_;
  system::Descriptor descriptor_;
  Holder holder_;
};

LockFile::Opened LockFile::open(std::uint32_t number, Id wanted) const {
  Opened opened;
  opened.descriptor =
      system::Descriptor(open_side_file_or_throw(options_.database, suffix_of_locks(number)));
  const int file = opened.descriptor.get();
  opened.id = wanted == Id::make ? make_id(file, path(number)) : read_id(file);
  struct stat status {};
  ::fstat(opened.descriptor.get(), &status);
  opened.device = status.st_dev;
  opened.inode = status.st_ino;
  return opened;
}

bool LockFile::is_current(std::uint32_t number, const Opened& opened) const {
  struct stat status {};
  return opened.descriptor.get() >= 0 && !opened.id.empty() &&
         ::lstat(path(number).c_str(), &status) == 0 && status.st_dev == opened.device &&
         status.st_ino == opened.inode;
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
  Opened opened = open(number, Id::make);
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
  return std::make_unique<LockedPlace>(std::move(opened.descriptor), std::move(holder),
                                       std::move(counted));
}

std::string LockFile::path(std::uint32_t number) const {
  return options_.database + suffix_of_locks(number);
}

rows::Liveness::Verdict LockFile::probe(const Holder& holder) const {
  if (holder.lock_file.empty()) return judge_process(holder.process, OtherBoot::dead);
  const std::lock_guard lock(mutex_);
  const std::uint32_t number = number_of_file(holder.lock_file);
  Opened& probing = probing_[number];
  if (!is_current(number, probing)) probing = open(number, Id::read);
  if (name_of_file(probing.id, number) != holder.lock_file) {
    return judge_process(holder.process, OtherBoot::dead);
  }
  const auto held = ofd_lock_held_by_others(probing.descriptor.get(), F_RDLCK, holder.lock);
  if (!held) return judge_process(holder.process, OtherBoot::dead);
  return *held ? Verdict::alive : Verdict::dead;
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
    Opened opened = open(number, Id::read);
    if (name_of_file(opened.id, number) != holder.lock_file) return std::make_unique<NoWakeup>();
    freed = std::make_shared<Freed>();
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
