#include <algorithm>
#include <iterator>
#include <set>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "input/input.hpp"
#include "projections/compare.hpp"
#include "projections/memory_tables.hpp"
#include "store/store.hpp"
#include "text/hex.hpp"

namespace dbcache::store {
namespace {

using projections::MemoryTables;

/// The event as users see it, without what it changed.
RecordedEvent describe(const EventRecord& record) {
  RecordedEvent event;
  event.position = record.position;
  event.stream = record.stream;
  event.version = record.version;
  event.type = record.type;
  event.payload = record.payload;
  event.metadata = record.metadata;
  event.recorded_at = Timestamp(std::chrono::microseconds(record.recorded_at));
  event.command_id = text::to_hex(record.command_id);
  event.hash = text::to_hex(record.hash);
  return event;
}

/// Applies the event to its row in `tables`, and describes it and its changes.
RecordedEvent follow(const EventRecord& record, MemoryTables& tables) {
  RecordedEvent event = describe(record);
  try {
    auto effect = projections::project_and_compare(events::parse_event(record.type, record.payload),
                                                   record.position, tables);
    event.effect = effect.effect;
    event.changes = std::move(effect.changes);
  } catch (const Error&) {
    // Show an altered event too, as it is: users look here when something went wrong.
  }
  return event;
}

/// Calls `visit` with each event of a log or stream, page by page, with no connection held.
template <class ReadPage, class Visit>
void for_each_event(const Store& store, ReadPage read_page, Visit visit) {
  for (std::vector<EventRecord> page;;) {
    page.clear();
    store.read([&](const ReadSession& session) { page = read_page(session.log); });
    for (const EventRecord& record : page) visit(record);
    if (page.size() < page_size) return;
  }
}

template <class Visit>
void for_each_event_of(const Store& store, const std::string& stream, Visit visit) {
  std::int64_t version = 0;
  for_each_event(
      store, [&](const EventLogReader& log) { return log.read_stream(stream, version, page_size); },
      [&](const EventRecord& record) {
        version = record.version;
        visit(record);
      });
}

class Collector {
 public:
  Collector(const Store& store, const HistoryQuery& query) : store_(store), query_(query) {}

  std::vector<RecordedEvent> collect() && {
    if (query_.subject.empty()) {
      add_all();
    } else {
      add_stream(events::cluster_stream(query_.subject));
      add_stream(events::registry_stream(query_.subject));
      add_stream(events::run_stream(query_.subject));
      add_entries_naming(query_.subject);
    }
    std::sort(found_.begin(), found_.end(),
              [](const auto& a, const auto& b) { return a.position < b.position; });
    if (query_.order == HistoryOrder::newest_first) std::reverse(found_.begin(), found_.end());
    if (query_.limit && found_.size() > *query_.limit) found_.resize(*query_.limit);
    return std::move(found_);
  }

 private:
  void add(RecordedEvent event) {
    const bool wanted = (query_.types.empty() || std::find(query_.types.begin(), query_.types.end(),
                                                           event.type) != query_.types.end()) &&
                        (!query_.since || event.recorded_at >= *query_.since) &&
                        (!query_.until || event.recorded_at < *query_.until);
    if (wanted) found_.push_back(std::move(event));
  }

  void add_all() {
    MemoryTables tables;
    std::int64_t position = 0;
    for_each_event(
        store_, [&](const EventLogReader& log) { return log.read(position, page_size); },
        [&](const EventRecord& record) {
          position = record.position;
          add(follow(record, tables));
        });
  }

  void add_stream(const std::string& stream) {
    added_.insert(stream);
    MemoryTables tables;
    for_each_event_of(store_, stream,
                      [&](const EventRecord& record) { add(follow(record, tables)); });
  }

  /// Adds from each registry stream those lives of the entry that named the cluster. A life is the
  /// time from when the entry was made to its removal.
  void add_entries_naming(const std::string& cluster_id) {
    std::vector<std::string> streams;
    store_.read(
        [&](const ReadSession& session) { streams = session.log.streams_naming(cluster_id); });
    for (const std::string& stream : streams) {
      if (added_.insert(stream).second) add_lives(stream, cluster_id);
    }
  }

  void add_lives(const std::string& stream, const std::string& cluster_id) {
    MemoryTables tables;
    std::vector<RecordedEvent> life;
    bool named = false;
    const auto end_life = [&] {
      if (named)
        std::for_each(life.begin(), life.end(), [&](auto& event) { add(std::move(event)); });
      life.clear();
      named = false;
    };
    for_each_event_of(store_, stream, [&](const EventRecord& record) {
      life.push_back(follow(record, tables));
      for (const RegistryEntry& entry : tables.entries()) {
        named = named || entry.cluster_id == cluster_id;
      }
      if (life.back().effect == RowEffect::removed) end_life();
    });
    end_life();
  }

  const Store& store_;
  const HistoryQuery& query_;
  std::set<std::string> added_;
  std::vector<RecordedEvent> found_;
};

}  // namespace

std::vector<RecordedEvent> events_from(const Store& store, std::int64_t position, std::size_t limit,
                                       Extent extent) {
  std::vector<RecordedEvent> found;
  store.read([&](const ReadSession& session) {
    found.clear();
    for (const EventRecord& record : session.log.read(position - 1, limit, extent)) {
      found.push_back(describe(record));
    }
  });
  return found;
}

std::vector<RecordedEvent> history(const Store& store, const HistoryQuery& query) {
  if (!query.subject.empty()) input::require_id(query.subject, "cluster id or config hash");
  for (const std::string& type : query.types) {
    if (!events::is_known_type(type)) {
      throw InvalidArgument(
          fmt::format("'{}' is not an event type; docs/log-format.md lists them", type));
    }
  }
  return Collector(store, query).collect();
}

}  // namespace dbcache::store
