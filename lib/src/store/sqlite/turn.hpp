#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {

/// The processes' turn to write: a lock on a byte of a small file beside the database
/// (`DATABASE-turn`). It is advisory: SQLite's own lock carries correctness, this one fairness,
/// since SQLite's waiters sleep ever longer and whoever has just written is first to write again.
///
/// Those who wait are woken one by one in the order in which they came. Until the one who was woken
/// runs, which takes as long as a transaction, another may take the free turn. But who was woken
/// and came too late starves: then everyone who comes goes behind those who wait, until none of
/// them starves. Open-file-description locks (fcntl(2)): the kernel lets go when the holder dies.
class Turn {
 public:
  explicit Turn(std::string database) : database_(std::move(database)) {}
  ~Turn() { close(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// By what those who wait are woken, from the next try on. Without it they look often.
  void wake_by(std::shared_ptr<SharedState> state) { state_ = std::move(state); }

  /// Takes the turn if it is free. A first try gives way where somebody starves; who has failed
  /// waits from then on, until a try succeeds or `leave` is called. True also where the file cannot
  /// be used, since the turn is only advisory. Throws StorageFailure where something else stands in
  /// its place.
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
    bool gave_way_ = false;
  };
  [[nodiscard]] Pause pause() const { return pause_; }

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

  /// Gives the turn back, or stops waiting.
  void leave() noexcept;

  void close() noexcept;
  /// The parent goes on waiting, if it does.
  void close_in_child() noexcept {
    counted_in_.reset();
    close();
  }

 private:
  bool open();
  void stop_waiting() noexcept;

  std::string database_;
  int descriptor_ = -1;
  int tries_ = 0;  ///< That failed, since the wait began.
  bool taken_ = false;
  std::shared_ptr<SharedState> counted_in_;  ///< As starving.
  std::shared_ptr<SharedState> state_;
  Pause pause_;
};

}  // namespace dbcache::store::sqlite
