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

/// A write that a thread waits for, and its result.
struct QueuedWrite {
  QueuedWrite(std::optional<Timestamp> now_, const WriteWork* work_,
              Engine::Company company = Engine::Company::others)
      : now(now_), work(work_), alone_(company == Engine::Company::alone) {}

  const std::optional<Timestamp> now;
  const WriteWork* const work;  ///< None where the thread needs the database for itself.
  std::exception_ptr error;     ///< Set by the thread that does the write.

 private:
  friend class WriteQueue;
  enum State : std::uint32_t { waiting, leading, taken, done };
  /// Slept on. Each thread waits for its own write. With one mutex for all, woken threads would
  /// wait for each other again.
  std::atomic<std::uint32_t> state_ = waiting;
  bool alone_;
};

/// The threads of a process that want to write, in the order in which they came. The first one
/// leads: once it may write, it takes the writes behind it along, and commits all of them in one
/// transaction with one sync (group commit). Then the next thread leads.
class WriteQueue {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  using Batch = std::vector<QueuedWrite*>;

  /// Waits until this write leads (true), or another thread has done it (false). Throws Busy past
  /// the deadline, unless another thread is just doing it.
  [[nodiscard]] bool enter(QueuedWrite& write, Deadline deadline);

  /// How many stand in the queue, the one that leads and those it took included.
  [[nodiscard]] std::size_t size();

  /// For the thread that leads: gives as many writes as the last batch had a moment to come. Those
  /// threads were let go together. Without the moment the first of them would write alone, and the
  /// others would wait for its sync.
  void gather();

  /// For the thread that leads: its own write and those behind it that may be done together with
  /// it. From now on they wait for `finish` or `put_back`.
  [[nodiscard]] Batch take();
  void put_back(const Batch& batch);
  /// The same. From then on each of them is taken by itself.
  void put_back_alone(const Batch& batch);

  /// For the thread that leads: leaves the queue, with the writes it took, and lets the next one
  /// lead.
  void pass_on();

  /// Lets the other threads of the batch go. Their writes are done, or have failed.
  static void finish(const Batch& batch, const QueuedWrite& own);

  void lock_for_fork() { mutex_.lock(); }
  void unlock_in_parent() { mutex_.unlock(); }
  /// The child has none of the threads that stood in the queue.
  void reset_in_child();

 private:
  /// After it the write may be gone, since its thread may return at once.
  static void set(QueuedWrite& write, std::uint32_t state);
  void let_first_lead();

  std::mutex mutex_;
  std::deque<QueuedWrite*> queue_;
  std::size_t last_batch_ = 0;
};

}  // namespace dbcache::store::sqlite
