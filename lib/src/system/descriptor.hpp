#pragma once

#include <sys/types.h>

namespace dbcache::system {

/// A file descriptor that belongs to the process that opened it. A forked child closes its copy at
/// once: a lock belongs to the open file description, so the copy would keep the lock after its
/// holder died. Open a descriptor and construct this under one ForkGate::Pass, so that no fork
/// comes in between. Safe if other threads fork.
class Descriptor {
 public:
  Descriptor() = default;
  /// Takes ownership of an open descriptor. A negative number means none.
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
