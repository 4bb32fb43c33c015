#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include <dbcache/replay.hpp>

#include "store/page_worker.hpp"
#include "store/store.hpp"

namespace dbcache::store {

/// Goes over the log from its first event to its last, page by page: while one page is read, the
/// work on the one before is done beside.
class LogPass {
 public:
  explicit LogPass(PageWorker::Work work, PageWorker::Start start = PageWorker::start_thread)
      : worker_(std::move(work), std::move(start)) {}

  /// To where the log ends by then, while writers go on; with no connection held but to read a
  /// page. False where there is no database. Throws what went wrong at the earliest event.
  bool run(const Store& store, const ProgressCallback& on_progress);

  /// What was appended since, in a transaction that holds off more of it.
  void run_to_end(const EventLogReader& log);

 private:
  bool run_pages(const Store& store, const ProgressCallback& on_progress);

  PageWorker worker_;
  // From below zero, so that a row that was put before the first event is seen.
  std::int64_t after_ = std::numeric_limits<std::int64_t>::min();
};

}  // namespace dbcache::store
