#include "store/sqlite/commit_signal.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <sys/inotify.h>
#include <sys/stat.h>

#include "store/sqlite/files.hpp"
#include "system/descriptor.hpp"
#include "system/detached_thread.hpp"
#include "system/fork_gate.hpp"

namespace dbcache::store::sqlite {
namespace {

/// Asks for the link count only. After a question for the file's times the kernel would update them
/// at every write (multigrain timestamps). A sync of the WAL would then write more, since the
/// inodes of both files are in one block of the disk.
bool is_deleted(int descriptor) {
  struct statx status {};
  if (::statx(descriptor, "", AT_EMPTY_PATH, STATX_NLINK, &status) == 0) {
    return status.stx_nlink == 0;
  }
  struct stat more {};
  return ::fstat(descriptor, &more) == 0 && more.st_nlink == 0;
}

class WatchedFile final : public Wakeup {
 public:
  WatchedFile(const std::string& database, bool may_make) {
    if (!may_make) return;
    const system::ForkGate::Pass pass;
    // The file must be there to be watched.
    const int file = open_side_file(database, signal_suffix);
    if (file < 0) return;
    ::close(file);
    // A user has 128 instances by default. Without one, the waiter looks from time to time.
    inotify_ = system::Descriptor(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_.get() >= 0 &&
        ::inotify_add_watch(inotify_.get(), (database + signal_suffix).c_str(),
                            IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF) < 0) {
      inotify_.close();
    }
  }

  // The kernel takes 5 to 30 ms to close an instance (it waits until nobody reads its marks). The
  // thread that was woken must not wait for that.
  ~WatchedFile() override {
    if (inotify_.get() < 0) return;
    system::start_detached("dbcache-close",
                           [inotify = std::move(inotify_)]() mutable { inotify.close_slowly(); });
  }

  [[nodiscard]] int descriptor() const override { return inotify_.get(); }

  void clear() override {
    alignas(inotify_event) std::array<char, 4096> events{};
    for (;;) {
      const ssize_t size =
          inotify_.get() < 0 ? -1 : ::read(inotify_.get(), events.data(), events.size());
      if (size <= 0) return;
      for (ssize_t at = 0; at < size;) {
        inotify_event event{};
        std::memcpy(&event, events.data() + at, sizeof event);
        at += static_cast<ssize_t>(sizeof event + event.len);
        // Another file is there by now, or none: the waiter must watch anew.
        if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0)
          return inotify_.close();
      }
    }
  }

 private:
  system::Descriptor inotify_;
};

}  // namespace

void CommitSignal::raise() noexcept {
  // Somebody may have deleted the file: waiters watch the one in its place.
  if (descriptor_ >= 0 && is_deleted(descriptor_)) close();
  if (descriptor_ < 0) descriptor_ = open_side_file(database_, signal_suffix);
  if (descriptor_ >= 0) static_cast<void>(!::pwrite(descriptor_, "!", 1, 0));
}

void CommitSignal::close() noexcept {
  // Forgotten first: a forked child must not close the number once more, which may be another
  // file's by then.
  const int descriptor = descriptor_.exchange(-1);
  if (descriptor >= 0) ::close(descriptor);
}

std::unique_ptr<Wakeup> CommitSignal::watch(bool may_make) const {
  return std::make_unique<WatchedFile>(database_, may_make);
}

}  // namespace dbcache::store::sqlite
