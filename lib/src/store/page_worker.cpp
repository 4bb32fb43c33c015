#include "store/page_worker.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <dbcache/errors.hpp>

#include "store/store.hpp"
#include "system/detached_thread.hpp"

namespace dbcache::store {
namespace {

/// Enough that neither thread waits for the other's odd slow page; and memory stays small.
constexpr std::size_t most_waiting = 4;

}  // namespace

/// Held by the thread too, so that it is never destroyed in a child that a callback forked: there
/// is no thread there that would let go of the mutex.
struct PageWorker::State {
  explicit State(Work given) : work(std::move(given)) {}

  const Work work;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Page> waiting;
  std::vector<Page> spare;  ///< Those that were worked on.
  bool ended = false;
  std::exception_ptr error;
};

PageWorker::PageWorker(Work work, Start start)
    : state_(std::make_shared<State>(std::move(work))),
      start_(std::move(start)),
      owner_(::getpid()) {}

PageWorker::~PageWorker() {
  if (!thread_) return;
  if (::getpid() != owner_) {
    static_cast<void>(thread_.release());
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->waiting.clear();
    state_->ended = true;
  }
  state_->changed.notify_all();
}

Page PageWorker::blank() {
  require_own_process();
  const std::lock_guard lock(state_->mutex);
  if (state_->spare.empty()) return std::make_shared<std::vector<EventRecord>>();
  Page page = std::move(state_->spare.back());
  state_->spare.pop_back();
  return page;
}

void PageWorker::put(const Page& page) {
  require_own_process();
  if (!thread_ && (page->size() < page_size || !start())) {
    state_->work(*page);
    state_->spare.push_back(page);
    return;
  }
  {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock,
                         [&] { return state_->waiting.size() < most_waiting || state_->error; });
    rethrow();
    state_->waiting.push_back(page);
  }
  state_->changed.notify_all();
}

void PageWorker::finish() {
  require_own_process();
  may_start_ = false;
  if (thread_) {
    {
      const std::lock_guard lock(state_->mutex);
      state_->ended = true;
    }
    state_->changed.notify_all();
    thread_.reset();
  }
  rethrow();
}

bool PageWorker::start() {
  if (!may_start_) return false;
  try {
    thread_ = std::make_unique<std::jthread>(start_([state = state_] { run(*state); }));
    return true;
  } catch (const std::system_error&) {
    may_start_ = false;
    return false;
  }
}

std::jthread PageWorker::start_thread(std::function<void()> run) {
  const system::BlockedSignals blocked;
  std::jthread thread(std::move(run));
  ::pthread_setname_np(thread.native_handle(), "dbcache-log");
  return thread;
}

void PageWorker::run(State& state) {
  std::unique_lock lock(state.mutex);
  for (;;) {
    state.changed.wait(lock, [&] { return !state.waiting.empty() || state.ended; });
    if (state.waiting.empty()) return;
    Page page = std::move(state.waiting.front());
    state.waiting.pop_front();
    lock.unlock();
    state.changed.notify_all();
    std::exception_ptr error;
    try {
      state.work(*page);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    state.spare.push_back(std::move(page));
    if (error) {
      state.error = error;
      state.changed.notify_all();
      return;
    }
  }
}

/// The thread is not in a child that a callback forked, and what it was at is half done.
void PageWorker::require_own_process() const {
  if (::getpid() != owner_) {
    throw StorageFailure(
        "this process was forked during a pass over the log, which cannot continue here; start a "
        "new pass");
  }
}

void PageWorker::rethrow() const {
  if (state_->error) std::rethrow_exception(state_->error);
}

}  // namespace dbcache::store
