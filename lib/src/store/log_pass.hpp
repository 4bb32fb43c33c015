#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include <dbcache/replay.hpp>

#include "store/page_worker.hpp"
#include "store/store.hpp"

namespace dbcache::store {

/// Reads the log from its first event to its last, page by page. While it reads one page, another
/// thread works on the page before.
class LogPass {
 public:
  explicit LogPass(PageWorker::Work work, PageWorker::Start start = PageWorker::start_thread)
      : worker_(std::move(work), std::move(start)) {}

  /// Runs up to the end of the log while writers continue. Holds a connection only to read a page.
  /// Returns false if there is no database. Throws the error of the earliest event that has one.
  bool run(const Store& store, const ProgressCallback& on_progress);

  /// Reads what was appended since, in a transaction that keeps writers out.
  void run_to_end(const EventLogReader& log);

 private:
  bool run_pages(const Store& store, const ProgressCallback& on_progress);

  PageWorker worker_;
  // Begins below zero, to see a row that was inserted before the first event.
  std::int64_t after_ = std::numeric_limits<std::int64_t>::min();
};

}  // namespace dbcache::store
