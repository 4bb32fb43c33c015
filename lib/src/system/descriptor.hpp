#pragma once

#include <sys/types.h>

namespace dbcache::system {

/// A file descriptor that belongs to the process that opened it: a forked child closes its copy at
/// once, since a lock goes with the open file description, and would outlive its holder there.
/// Opened and taken over while no fork can come in between (ForkGate::Pass). Thread-safe over
/// forks.
class Descriptor {
 public:
  Descriptor() = default;
  /// Takes an open descriptor over; a negative one is none.
  explicit Descriptor(int descriptor);
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  /// -1 where there is none, and in a child of the process that opened it.
  [[nodiscard]] int get() const noexcept;
  void close() noexcept;

  /// The same, for what takes long to close: no other descriptor's user waits meanwhile. A fork at
  /// the very moment may leave the child a copy, so not for locks.
  void close_slowly() noexcept;

 private:
  int descriptor_ = -1;
  pid_t owner_ = 0;
};

/// The same for a descriptor that a library opens and closes: only a child's copy is closed here.
class ForkClosed {
 public:
  explicit ForkClosed(int descriptor);
  /// Before it is closed.
  ~ForkClosed();
  ForkClosed(const ForkClosed&) = delete;
  ForkClosed& operator=(const ForkClosed&) = delete;

  /// False in a child of the process that opened it.
  [[nodiscard]] bool is_open() const noexcept;

 private:
  int descriptor_;
  pid_t owner_;
};

}  // namespace dbcache::system
