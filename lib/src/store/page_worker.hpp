#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "store/event_record.hpp"

namespace dbcache::store {

/// Some events of the log, in order. After put(), two threads may read it.
using Page = std::shared_ptr<std::vector<EventRecord>>;

/// Works on the pages of a log in their order. It uses a second thread, since hashes and
/// projections take longer than reading. If there is less than a full page, or no thread can be
/// started, it works on the caller's thread. For use by one thread.
class PageWorker {
 public:
  using Work = std::function<void(const std::vector<EventRecord>&)>;
  /// Starts a thread that runs a function; throws std::system_error if it cannot.
  using Start = std::function<std::jthread(std::function<void()>)>;

  static std::jthread start_thread(std::function<void()> run);

  explicit PageWorker(Work work, Start start = start_thread);
  /// Drops pages that were not begun, and waits for the one that was.
  ~PageWorker();
  PageWorker(const PageWorker&) = delete;
  PageWorker& operator=(const PageWorker&) = delete;

  /// A page to read into: a new one, or a finished one whose memory is reused. Do not use pages
  /// that were put before.
  [[nodiscard]] Page blank();

  /// Hands a page over. Waits while the queue is full. Throws what the work on this page, or on one
  /// before, threw.
  void put(const Page& page);

  /// Waits until all pages are done, then ends the thread: a later put() works at once, on the
  /// caller's thread. Throws what the work threw.
  void finish();

 private:
  struct State;

  static void run(State& state);
  [[nodiscard]] bool start();
  void require_own_process() const;
  void rethrow() const;

  std::shared_ptr<State> state_;
  Start start_;
  std::unique_ptr<std::jthread> thread_;
  bool may_start_ = true;
  pid_t owner_;
};

}  // namespace dbcache::store
