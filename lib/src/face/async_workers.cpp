#include <list>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

#include <dbcache/async.hpp>

#include "system/detached_thread.hpp"

namespace dbcache {

class AsyncWorkers::Impl {
 public:
  ~Impl() {
    // A forked child has copies of the objects, but none of the threads.
    if (owner_ != ::getpid()) {
      for (Worker& worker : workers_) {
        // The process may have forked before this thread was started.
        if (worker.thread.joinable()) worker.thread.detach();
      }
      return;
    }
    std::list<Worker> last;
    {
      const std::lock_guard lock(mutex_);
      last.swap(workers_);
    }
    for (Worker& worker : last) worker.thread.request_stop();
    for (Worker& worker : last) leave_or_join(worker);
  }

  void run(std::function<void(std::stop_token)> work) {
    const std::lock_guard lock(mutex_);
    for (auto worker = workers_.begin(); worker != workers_.end();) {
      const bool done = *worker->done;
      if (done) leave_or_join(*worker);
      worker = done ? workers_.erase(worker) : std::next(worker);
    }
    auto done = std::make_shared<std::atomic<bool>>(false);
    const system::BlockedSignals blocked;
    // Grow the list first: once a thread has started, it cannot be abandoned.
    workers_.push_back({{}, done});
    try {
      workers_.back().thread =
          std::jthread([work = std::move(work), done](std::stop_token stop) mutable {
            work(std::move(stop));
            // `work` may own the last reference to this object: destroying it ends the workers.
            work = nullptr;
            *done = true;
          });
    } catch (...) {
      workers_.pop_back();
      throw;
    }
  }

 private:
  struct Worker {
    std::jthread thread;
    std::shared_ptr<std::atomic<bool>> done;
  };

  /// A thread cannot wait for itself.
  static void leave_or_join(Worker& worker) {
    if (worker.thread.get_id() == std::this_thread::get_id()) {
      worker.thread.detach();
    } else {
      worker.thread.join();
    }
  }

  const pid_t owner_ = ::getpid();
  std::mutex mutex_;
  std::list<Worker> workers_;
};

AsyncWorkers::AsyncWorkers() : impl_(std::make_unique<Impl>()) {}
AsyncWorkers::~AsyncWorkers() = default;

void AsyncWorkers::run(std::function<void(std::stop_token)> work) { impl_->run(std::move(work)); }

}  // namespace dbcache
