#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>

namespace dbcache::store::sqlite {

/// Lets the threads of a process write one at a time, in the order in which they came.
class WriterQueue {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  /// A place in the queue, at its front once it is made. Throws Busy past the deadline.
  class Place {
   public:
    Place(WriterQueue& queue, Deadline deadline);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    WriterQueue& queue_;
    std::list<std::uint64_t>::iterator ticket_;
  };

  void lock_for_fork() { mutex_.lock(); }
  void unlock_in_parent() { mutex_.unlock(); }
  /// The child has none of the threads that stood in the queue.
  void reset_in_child();

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  std::list<std::uint64_t> tickets_;
  std::uint64_t next_ticket_ = 0;
};

}  // namespace dbcache::store::sqlite
