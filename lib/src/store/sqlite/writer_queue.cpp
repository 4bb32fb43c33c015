#include "store/sqlite/writer_queue.hpp"

#include <new>

#include <dbcache/errors.hpp>

namespace dbcache::store::sqlite {

WriterQueue::Place::Place(WriterQueue& queue, Deadline deadline) : queue_(queue) {
  std::unique_lock lock(queue_.mutex_);
  ticket_ = queue_.tickets_.insert(queue_.tickets_.end(), queue_.next_ticket_++);
  const bool first =
      queue_.moved_.wait_until(lock, deadline, [&] { return queue_.tickets_.begin() == ticket_; });
  if (!first) {
    queue_.tickets_.erase(ticket_);
    throw Busy(
        "other threads of this process kept the database busy past the busy timeout; raise "
        "Options::busy_timeout, or write from fewer threads");
  }
}

WriterQueue::Place::~Place() {
  {
    const std::lock_guard lock(queue_.mutex_);
    queue_.tickets_.erase(ticket_);
  }
  queue_.moved_.notify_all();
}

void WriterQueue::reset_in_child() {
  tickets_.clear();
  mutex_.unlock();
  new (&moved_) std::condition_variable;
}

}  // namespace dbcache::store::sqlite
