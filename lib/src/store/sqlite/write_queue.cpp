#include "store/sqlite/write_queue.hpp"

#include <algorithm>
#include <thread>

#include <dbcache/errors.hpp>

#include "system/futex.hpp"

namespace dbcache::store::sqlite {
namespace {

/// A transaction of so many writes is long enough to make the sync cheap.
constexpr std::size_t most_in_a_batch = 64;

/// How long `gather` waits for the last batch's threads: less than a sync takes.
constexpr std::chrono::microseconds longest_gathering{50};

/// For a wait without a deadline. Somebody wakes the sleeper.
constexpr std::chrono::hours longest_sleep{1};

}  // namespace

bool WriteQueue::enter(QueuedWrite& write, Deadline deadline) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(&write);
    let_first_lead();
  }
  for (;;) {
    const std::uint32_t state = write.state_.load(std::memory_order_acquire);
    if (state == QueuedWrite::done) return false;
    if (state == QueuedWrite::leading) return true;
    const auto left = deadline - std::chrono::steady_clock::now();
    if (state == QueuedWrite::waiting && left <= Deadline::duration::zero()) {
      const std::lock_guard lock(mutex_);
      if (write.state_.load() != QueuedWrite::waiting) continue;
      std::erase(queue_, &write);
      throw Busy(
          "other threads of this process kept the database busy past the busy timeout; raise "
          "Options::busy_timeout, or write from fewer threads");
    }
    // A write that another thread is just doing ends, well or badly, with or without a deadline.
    const bool limited = state == QueuedWrite::waiting && left < longest_sleep;
    system::futex_wait(write.state_, state, limited ? left : longest_sleep);
  }
}

std::size_t WriteQueue::size() {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void WriteQueue::gather() {
  const auto end = std::chrono::steady_clock::now() + longest_gathering;
  // The thread that led before wrote this, and has passed the lead on.
  while (size() < last_batch_ && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

WriteQueue::Batch WriteQueue::take() {
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.reserve(std::min(queue_.size(), most_in_a_batch));  // nothing may be thrown further down
  for (QueuedWrite* const write : queue_) {
    if (batch.size() == most_in_a_batch || write->work == nullptr) break;
    if (!batch.empty() && (write->alone_ || batch.front()->alone_)) break;
    if (!batch.empty()) write->state_.store(QueuedWrite::taken);
    batch.push_back(write);
  }
  last_batch_ = batch.size();
  return batch;
}

void WriteQueue::put_back(const Batch& batch) {
  const std::lock_guard lock(mutex_);
  for (QueuedWrite* const write : batch) {
    if (write != queue_.front()) set(*write, QueuedWrite::waiting);
  }
}

void WriteQueue::put_back_alone(const Batch& batch) {
  for (QueuedWrite* const write : batch) write->alone_ = true;
  put_back(batch);
}

void WriteQueue::pass_on() {
  const std::lock_guard lock(mutex_);
  queue_.pop_front();
  while (!queue_.empty() && queue_.front()->state_.load() == QueuedWrite::taken) {
    queue_.pop_front();
  }
  let_first_lead();
}

void WriteQueue::finish(const Batch& batch, const QueuedWrite& own) {
  for (QueuedWrite* const write : batch) {
    if (write != &own) set(*write, QueuedWrite::done);
  }
}

void WriteQueue::set(QueuedWrite& write, std::uint32_t state) {
  const std::atomic<std::uint32_t>& word = write.state_;
  write.state_.store(state, std::memory_order_release);
  // The kernel looks at the address only, so the write may be gone: a late wake does nothing.
  system::futex_wake(word, 1);
}

void WriteQueue::let_first_lead() {
  if (queue_.empty() || queue_.front()->state_.load() != QueuedWrite::waiting) return;
  set(*queue_.front(), QueuedWrite::leading);
}

void WriteQueue::reset_in_child() {
  queue_.clear();
  mutex_.unlock();
}

}  // namespace dbcache::store::sqlite
