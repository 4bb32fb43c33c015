#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <vector>

#include <dbcache/time.hpp>

#include "store/engine.hpp"

namespace dbcache::store::sqlite {

/// A write that a thread wants done, and how it went.
struct QueuedWrite {
  QueuedWrite(std::optional<Timestamp> now_, const WriteWork* work_,
              Engine::Grouping grouping = Engine::Grouping::grouped)
      : now(now_), work(work_), alone_(grouping == Engine::Grouping::alone) {}

  const std::optional<Timestamp> now;
  const WriteWork* const work;  ///< None where the thread needs the database for itself.
  std::exception_ptr error;     ///< Set by whoever does it.

 private:
  friend class WriteQueue;
  enum State : std::uint32_t { waiting, leading, taken, done };
  /// Slept on. A thread waits for its own write only: a mutex that all of them want once they are
  /// woken would have them wait again.
  std::atomic<std::uint32_t> state_ = waiting;
  bool alone_;
};

/// The threads of a process that want to write, in the order in which they came. The first of them
/// leads: once the database is its to write, it takes the writes behind it along, and commits them
/// all in one transaction, for one sync (group commit). When that is committed, the next leads,
/// while the one before still waits for the disk.
class WriteQueue {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  using Batch = std::vector<QueuedWrite*>;

  /// Waits until this write leads (true), or another thread has done it (false). Throws Busy past
  /// the deadline, unless it is just being done.
  [[nodiscard]] bool enter(QueuedWrite& write, Deadline deadline);

  /// How many stand in it, whoever leads and those it took among them.
  [[nodiscard]] std::size_t size();

  /// For who leads: gives as many as were done together the last time a moment to come. They were
  /// let go together, and the first would else go alone, with the others waiting for its sync.
  void gather();

  /// For who leads: its own write and those behind it that may be done together with it. They wait
  /// for `finish` from now on, or for `put_back`.
  [[nodiscard]] Batch take();
  void put_back(const Batch& batch);
  /// The same, and each is to be taken by itself the next time.
  void put_back_alone(const Batch& batch);

  /// For who leads: lets the next one lead. Whoever led leaves the queue, and those it took.
  void pass_on();

  /// Lets those go whose writes were done, or failed.
  static void finish(const Batch& batch, const QueuedWrite& own);

  void lock_for_fork() { mutex_.lock(); }
  void unlock_in_parent() { mutex_.unlock(); }
  /// The child has none of the threads that stood in the queue.
  void reset_in_child();

 private:
  /// Its thread may return at once, and the write be gone.
  static void set(QueuedWrite& write, std::uint32_t state);
  void let_first_lead();

  std::mutex mutex_;
  std::deque<QueuedWrite*> queue_;
  std::size_t last_batch_ = 0;
};

}  // namespace dbcache::store::sqlite
