#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// The processes' turn to write: a lock on a byte of a small file beside the database
/// (`DATABASE-turn`). It is advisory. SQLite's own lock makes writing correct; the turn makes it
/// fair, since SQLite's waiters sleep ever longer and the last writer is the first to write again.
/// The lock belongs to an open file description (fcntl(2)): the kernel frees it when the holder
/// dies.
///
/// A process that does not get the turn stands in line with a ticket. When the turn becomes free,
/// the first in line is woken. It takes as long as a transaction until that one runs. Until then a
/// newcomer may take the free turn, but only one: further newcomers go to the end of the line. So a
/// waiter is passed by at most one other for each place in the line. If the first in line does not
/// take a free turn within 5 ms (it was killed, or stopped), it is skipped.
class Turn {
 public:
  explicit Turn(std::string database) : database_(std::move(database)) {}
  ~Turn() { close(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Sets where the line is, from the next try on. Without it there is no line, and waiters look
  /// often.
  void wake_by(std::shared_ptr<SharedState> state) { state_ = std::move(state); }

  /// Takes the turn if it is free and this process may have it. After a failed try this process
  /// waits in line, until a try succeeds or it calls `leave`. Returns true also where the file
  /// cannot be used or locked, since the turn is only advisory. Throws StorageFailure where
  /// something else stands in the file's place.
  [[nodiscard]] bool try_take();

  /// After a failed try: sleeps until the next one is worthwhile, or `most` is over. A copy, since
  /// the sleep may outlast the state that a fork closes.
  class Pause {
   public:
    void sleep(std::chrono::steady_clock::duration most) const;

   private:
    friend class Turn;
    std::shared_ptr<SharedState> state_;
    std::uint32_t seen_ = 0;
    std::uint32_t ticket_ = 0;
  };
  [[nodiscard]] Pause pause() const { return pause_; }

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

  /// Gives the turn back, or stops waiting.
  void leave() noexcept;

  void close() noexcept;
  /// Closes the child's copy. A parent that waits goes on waiting.
  void close_in_child() noexcept {
    line_.reset();
    taken_ = false;
    close();
  }

 private:
  enum class Lock {
    taken,
    held_by_another,
    impossible,  ///< For another reason: the kernel has no locks left, for example.
  };

  bool open();
  [[nodiscard]] Lock lock() const;
  [[nodiscard]] bool may_try() const;
  void pass_by();
  void stand_in_line();
  Lock pass_over();
  void leave_line() noexcept;

  std::string database_;
  int descriptor_ = -1;
  bool taken_ = false;
  std::shared_ptr<SharedState> state_;

  std::shared_ptr<SharedState> line_;  ///< Set while this process has a ticket in it.
  std::uint32_t ticket_ = 0;
  std::uint32_t first_seen_ = 0;  ///< The first in line when this process last looked,
  std::chrono::steady_clock::time_point first_since_;  ///< and since when.
  Pause pause_;
};

}  // namespace dbcache::store::sqlite
