#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// The processes' turn to write: a lock on a byte of a small file beside the database
/// (`DATABASE-turn`). It is advisory: SQLite's own lock carries correctness, this one fairness,
/// since SQLite's waiters sleep ever longer and whoever has just written is first to write again.
/// An open-file-description lock (fcntl(2)): the kernel lets go when the holder dies.
///
/// Who does not get it stands in line, by a ticket, and the first of the line is woken when it is
/// given back. Until that one runs, which takes as long as a transaction, another who comes may
/// take the free turn; but only once: from then on everyone who comes goes to the end of the line.
/// So whoever waits is passed by one other for each place of the line. Who does not come when it is
/// his turn (he was killed, or stopped) is waited for a moment, then passed over.
class Turn {
 public:
  explicit Turn(std::string database) : database_(std::move(database)) {}
  ~Turn() { close(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Where the line is, from the next try on. Without it there is none, and those who wait look
  /// often.
  void wake_by(std::shared_ptr<SharedState> state) { state_ = std::move(state); }

  /// Takes the turn if it is free, and this one's to take. Who has failed waits from then on, until
  /// a try succeeds or `leave` is called. True also where the file cannot be used, since the turn
  /// is only advisory. Throws StorageFailure where something else stands in its place.
  [[nodiscard]] bool try_take();

  /// After a failed try: a sleep until another is worth it, or `most` is over. Copied out, since it
  /// may outlast what a fork closes.
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
  /// The parent goes on waiting, if it does.
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

  std::shared_ptr<SharedState> line_;  ///< In which this one has a ticket.
  std::uint32_t ticket_ = 0;
  std::uint32_t first_seen_ = 0;  ///< Who was first in it when this one last looked,
  std::chrono::steady_clock::time_point first_since_;  ///< and since when.
  Pause pause_;
};

}  // namespace dbcache::store::sqlite
