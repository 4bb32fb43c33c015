#include <limits>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "projections/compare.hpp"
#include "projections/memory_tables.hpp"
#include "projections/project.hpp"
#include "store/chain.hpp"
#include "store/store.hpp"

namespace dbcache::store {
namespace {

/// Builds the tables in memory, as far as the log was read.
class Rebuild {
 public:
  /// Reads one page, and tells how many events there were.
  std::size_t read_page(const EventLogReader& log) {
    const auto page = log.read(after_, page_size);
    for (const EventRecord& record : page) {
      take(record);
      after_ = record.position;
    }
    return page.size();
  }

  void read_to_end(const EventLogReader& log) {
    while (read_page(log) == page_size) {
    }
  }

  [[nodiscard]] ReplayReport report(const projections::TableReader& live) const {
    ReplayReport report;
    report.events = checker_.events();
    report.clusters = static_cast<std::int64_t>(tables_.cluster_count());
    report.registry_entries = static_cast<std::int64_t>(tables_.entry_count());
    report.differences = projections::compare(tables_, live);
    return report;
  }

  [[nodiscard]] const projections::MemoryTables& tables() const { return tables_; }
  [[nodiscard]] std::int64_t events() const { return checker_.events(); }

 private:
  void take(const EventRecord& record) {
    if (const auto problems = checker_.check(record); !problems.empty()) {
      throw CorruptDatabase(fmt::format(
          "the log cannot be replayed: at position {}{}{}, {}; `dbcache verify` lists what is "
          "wrong",
          problems.front().position, problems.front().stream.empty() ? "" : " of the stream ",
          problems.front().stream, problems.front().what));
    }
    projections::project(events::parse_event(record.type, record.payload), record.position,
                         tables_);
  }

  // From below zero, so that a row that was put before the first event is seen.
  std::int64_t after_ = std::numeric_limits<std::int64_t>::min();
  ChainChecker checker_;
  projections::MemoryTables tables_;
};

}  // namespace

ReplayReport replay(const Store& store, const ReplayOptions& options) {
  Rebuild rebuild;
  LogProgress progress;
  // The log only grows, so most of it is read before the transaction that must see its end: writers
  // wait for the last page only, and progress is told with no connection held.
  for (std::size_t read = page_size; read == page_size;) {
    read = 0;
    store.read([&](const ReadSession& session) {
      if (progress.events_total == 0) progress.events_total = session.log.last_position();
      read = rebuild.read_page(session.log);
    });
    progress.events_done = rebuild.events();
    if (read > 0 && options.on_progress) options.on_progress(progress);
  }

  ReplayReport report;
  if (options.mode == ReplayMode::check) {
    store.read([&](const ReadSession& session) {
      rebuild.read_to_end(session.log);
      report = rebuild.report(session.tables);
    });
    return report;
  }
  const bool exists = store.read([](const ReadSession&) {});
  if (!exists) return report;
  store.engine().write(std::nullopt, [&](WriteSession& session) {
    rebuild.read_to_end(session.log);
    report = rebuild.report(session.tables);
    session.tables.clear();
    rebuild.tables().copy_to(session.tables);
    report.rebuilt = true;
    return Sync::as_configured;
  });
  return report;
}

}  // namespace dbcache::store
