#include "store/log_pass.hpp"

namespace dbcache::store {

bool LogPass::run(const Store& store, const ProgressCallback& on_progress) {
  bool exists = false;
  try {
    exists = run_pages(store, on_progress);
  } catch (...) {
    worker_.finish();  // report the error of an earlier page first
    throw;
  }
  worker_.finish();
  return exists;
}

bool LogPass::run_pages(const Store& store, const ProgressCallback& on_progress) {
  LogProgress progress;
  for (;;) {
    const Page page = worker_.blank();
    const bool exists = store.read([&](const ReadSession& session) {
      if (progress.events_total == 0) progress.events_total = session.log.last_position();
      session.log.read_into(*page, after_, page_size, Extent::settled);
    });
    if (!exists) return false;
    if (page->empty()) return true;
    after_ = page->back().position;
    progress.events_done += static_cast<std::int64_t>(page->size());
    const bool more = page->size() == page_size;  // otherwise it could chase a busy writer forever
    worker_.put(page);
    if (on_progress) on_progress(progress);
    if (!more) return true;
  }
}

void LogPass::run_to_end(const EventLogReader& log) {
  for (;;) {
    const Page page = worker_.blank();
    log.read_into(*page, after_, page_size, Extent::visible);
    if (page->empty()) return;
    after_ = page->back().position;
    worker_.put(page);
  }
}

}  // namespace dbcache::store
