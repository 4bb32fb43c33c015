#pragma once

#include <string>

namespace dbcache::store::sqlite {

/// The processes' turn to write: a lock on a byte of a small file beside the database
/// (`DATABASE-turn`). It is advisory: SQLite's own lock carries correctness, this one fairness,
/// since SQLite's waiters sleep ever longer and whoever has just written is first to write again.
/// Here whoever writes again lets those go first who already wait. Open-file-description locks
/// (fcntl(2)): the kernel lets go when the holder dies.
class Turn {
 public:
  explicit Turn(std::string database) : database_(std::move(database)) {}
  ~Turn() { close(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Takes the turn if it is free. A first try gives way to those who wait; a failed one waits from
  /// then on, until it succeeds or `leave` is called. True also where the file cannot be used,
  /// since the turn is only advisory. Throws StorageFailure where something else stands in its
  /// place.
  [[nodiscard]] bool try_take();

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

  /// Gives the turn back, or stops waiting.
  void leave() noexcept;

  void close() noexcept;

 private:
  bool open();

  std::string database_;
  int descriptor_ = -1;
  bool waiting_ = false;
};

}  // namespace dbcache::store::sqlite
