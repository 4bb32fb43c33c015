#include "store/rebuild.hpp"

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "projections/compare.hpp"
#include "projections/project.hpp"

namespace dbcache::store {

void Rebuild::take(const std::vector<EventRecord>& page) {
  for (const EventRecord& record : page) take(record);
}

void Rebuild::take(const EventRecord& record) {
  if (const auto problems = checker_.check(record); !problems.empty()) {
    throw CorruptDatabase(fmt::format(
        "the log cannot be replayed: at position {}{}{}, {}; `dbcache verify` lists what is "
        "wrong",
        problems.front().position, problems.front().stream.empty() ? "" : " of the stream ",
        problems.front().stream, problems.front().what));
  }
  projections::project(events::parse_event(record.type, record.payload), record.position, tables_);
}

ReplayReport Rebuild::report(const rows::TableReader& live) const {
  ReplayReport report;
  report.events = checker_.events();
  report.clusters = static_cast<std::int64_t>(tables_.cluster_count());
  report.registry_entries = static_cast<std::int64_t>(tables_.entry_count());
  report.differences = projections::compare(tables_, live);
  return report;
}

}  // namespace dbcache::store
