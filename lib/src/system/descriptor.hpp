#pragma once

#include <sys/types.h>

namespace dbcache::system {

/// A descriptor like this one, which it closes, that is none of 0 to 2. A program may have closed
/// those, and what it or another library then prints must not land in a file of ours. Takes a
/// negative number too, and keeps errno.
int above_standard(int descriptor);

/// Opens those of descriptors 0 to 2 that the program has closed, such that using them fails as
/// before, for the sake of files and sockets that other libraries open. SQLite does so too, when it
/// is given such a number. A program that opens a stdout of its own later and relies on getting the
/// lowest number must close that number first, as daemons do.
void reserve_standard_descriptors();

/// A file descriptor that belongs to the process that opened it. A forked child closes its copy at
/// once: a lock belongs to the open file description, so the copy would keep the lock after its
/// holder died. Open a descriptor and construct this under one ForkGate::Pass, so that no fork
/// comes in between. Safe if other threads fork.
class Descriptor {
 public:
  Descriptor() = default;
  /// Takes ownership of an open descriptor, which it may move to another number (above_standard). A
  /// negative number means none.
  explicit Descriptor(int descriptor);
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  /// -1 if there is none, and in a forked child.
  [[nodiscard]] int get() const noexcept;
  void close() noexcept;

  /// Closes without blocking the users of other descriptors, for files that take long to close. Not
  /// for locks: a fork at that moment may leave the child a copy.
  void close_slowly() noexcept;

 private:
  int descriptor_ = -1;
  pid_t owner_ = 0;
};

/// Closes only the copy in a forked child, for a descriptor that a library opens and closes itself.
class ForkClosed {
 public:
  explicit ForkClosed(int descriptor);
  /// Destroy it before the descriptor is closed.
  ~ForkClosed();
  ForkClosed(const ForkClosed&) = delete;
  ForkClosed& operator=(const ForkClosed&) = delete;

  /// False in a forked child.
  [[nodiscard]] bool is_open() const noexcept;

 private:
  int descriptor_;
  pid_t owner_;
};

}  // namespace dbcache::system
