#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "store/event_record.hpp"

namespace dbcache::store {

/// Some events of the log, in order. Once it was put, two threads may look at it.
using Page = std::shared_ptr<std::vector<EventRecord>>;

/// Works on the pages of a log in their order, on a thread beside the caller's: hashes and
/// projections take longer than reading. On the caller's own thread where there is less than a
/// full page, and where no thread is to be had. Used by one thread.
class PageWorker {
 public:
  using Work = std::function<void(const std::vector<EventRecord>&)>;
  /// Starts a thread that runs this; throws std::system_error where it cannot.
  using Start = std::function<std::jthread(std::function<void()>)>;

  static std::jthread start_thread(std::function<void()> run);

  explicit PageWorker(Work work, Start start = start_thread);
  /// Drops what was not begun, and waits for what was.
  ~PageWorker();
  PageWorker(const PageWorker&) = delete;
  PageWorker& operator=(const PageWorker&) = delete;

  /// A page to read into: a new one, or one that was worked on and that nobody looks at any more,
  /// whose memory is used again. What was put by then is not to be looked at.
  [[nodiscard]] Page blank();

  /// Waits while as many pages as may wait do. Throws what the work threw, on this page or on one
  /// before.
  void put(const Page& page);

  /// Waits until all was worked on, and ends the thread: what is put later is worked on at once.
  /// Throws what the work threw.
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
