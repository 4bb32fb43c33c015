#include <dbcache/json.hpp>

#include "input/input.hpp"
#include "rows/fields.hpp"
#include "text/json_text.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache {

BOOST_DESCRIBE_STRUCT(CacheStatistics, (),
                      (total_clusters, active_clusters, expired_clusters, total_accesses,
                       shared_clusters, cache_file_size))
BOOST_DESCRIBE_STRUCT(DatabaseInfo, (),
                      (path, schema, exists, database_size, wal_exists, wal_size, shm_exists,
                       shm_size, schema_version, events, last_position, closed))
BOOST_DESCRIBE_STRUCT(AdoptionReport, (), (clusters, registry_entries, timezone, notes))
BOOST_DESCRIBE_STRUCT(LogHead, (), (events, hash))
BOOST_DESCRIBE_STRUCT(LogProblem, (), (position, stream, version, what))

/// For `write_field`.
static std::string_view to_string(LeaseInfo::Kind kind) {
  switch (kind) {
    case LeaseInfo::Kind::lease:
      return "lease";
    case LeaseInfo::Kind::creation:
      return "creation";
    case LeaseInfo::Kind::check:
      return "check";
  }
  return "unknown";
}

BOOST_DESCRIBE_STRUCT(Removal, (), (removed, held))
BOOST_DESCRIBE_STRUCT(ReleaseReport, (),
                      (of_surrounding_run, was_held, was_last, usage_count, owed, settled, error,
                       ended, cluster_id, cluster_is))
BOOST_DESCRIBE_STRUCT(HolderInfo, (), (host, pid, label, until, alive))
BOOST_DESCRIBE_STRUCT(LeaseInfo, (),
                      (lease, name, kind, config_hash, cluster_id, holder, since, policy, run))
BOOST_DESCRIBE_STRUCT(DocumentedUses, (), (config_hash, cluster_id, count))
BOOST_DESCRIBE_STRUCT(ParticipantInfo, (), (id, participant_name, run, kind, name, holder, since))
BOOST_DESCRIBE_STRUCT(LeaseReport, (), (leases, documented_uses, participants))
BOOST_DESCRIBE_STRUCT(OwedTermination, (),
                      (subject, cluster_id, idempotency_token, config_hash, host, reason, owed_at,
                       attempts, error, terminator))
BOOST_DESCRIBE_STRUCT(SettleReport::Failure, (), (subject, error))
BOOST_DESCRIBE_STRUCT(SettleReport, (), (settled, failed, left))

namespace {

template <class Struct>
json::object describe(const Struct& given) {
  json::object object;
  rows::write_fields(given, object);
  return object;
}

std::string_view word_of(RowEffect effect) {
  switch (effect) {
    case RowEffect::none:
      return "none";
    case RowEffect::made:
      return "made";
    case RowEffect::changed:
      return "changed";
    case RowEffect::removed:
      return "removed";
  }
  return "unknown";
}

std::string_view word_of(RowDifference::Kind kind) {
  switch (kind) {
    case RowDifference::Kind::missing:
      return "missing";
    case RowDifference::Kind::unexpected:
      return "unexpected";
    case RowDifference::Kind::changed:
      return "changed";
  }
  return "unknown";
}

/// An altered log may hold any bytes; the output must be valid JSON all the same.
json::string clean(std::string_view stored) { return {text::to_valid_utf8(stored)}; }

/// Stored JSON as JSON, or as a string if it was damaged.
json::value stored_json(const std::string& stored) {
  try {
    return text::parse_json(stored, "stored JSON", text::max_stored_json_depth);
  } catch (const Error&) {
    return clean(stored);
  }
}

/// A time in the usual form, or the microseconds since 1970 if it was altered to an impossible one.
json::value time_or_number(Timestamp time) {
  try {
    return json::string(format_timestamp(time));
  } catch (const InvalidArgument&) {
    return time.time_since_epoch().count();
  }
}

std::string head_text(const LogHead& head) { return fmt::format("{}:{}", head.events, head.hash); }

template <class Items>
json::array list(const Items& items) {
  json::array array;
  for (const auto& item : items) array.push_back(to_json(item));
  return array;
}

}  // namespace

json::object to_json(const CachedCluster& cluster) { return describe(cluster); }
json::object to_json(const RegistryEntry& entry) { return describe(entry); }
json::object to_json(const CacheStatistics& statistics) { return describe(statistics); }
json::object to_json(const LogHead& head) { return describe(head); }
json::object to_json(const DatabaseInfo& info) {
  json::object object = describe(info);
  object["path"] = clean(info.path);  // a path need not be UTF-8
  if (info.closed) object["closed"] = clean(*info.closed);
  return object;
}
json::object to_json(const AdoptionReport& report) { return describe(report); }

json::object to_json(const Removal& removal) { return describe(removal); }
json::object to_json(const ReleaseReport& report) { return describe(report); }
json::object to_json(const LeaseInfo& lease) { return describe(lease); }
json::object to_json(const ParticipantInfo& participant) { return describe(participant); }
json::object to_json(const LeaseReport& report) { return describe(report); }
json::object to_json(const OwedTermination& owed) { return describe(owed); }
json::object to_json(const SettleReport& report) { return describe(report); }

json::object to_json(const CachedClusterInfo& info) {
  json::object object = to_json(info.cluster);
  object["is_valid"] = info.is_valid;
  object["remaining"] = std::chrono::duration<double>(info.remaining).count();
  object["from_environment"] = info.from_environment;
  return object;
}

json::object to_json(const RecordedEvent& event) {
  json::object object;
  object["position"] = event.position;
  object["stream"] = clean(event.stream);
  object["version"] = event.version;
  object["type"] = clean(event.type);
  object["recorded_at"] = time_or_number(event.recorded_at);
  object["metadata"] = stored_json(event.metadata);
  object["payload"] = stored_json(event.payload);
  object["command_id"] = event.command_id;
  object["hash"] = event.hash;
  object["effect"] = word_of(event.effect);
  json::object& changes = object["changes"].emplace_object();
  for (const ColumnChange& change : event.changes) {
    changes[change.column] = json::object{{"before", change.before}, {"after", change.after}};
  }
  return object;
}

json::object to_json(const RowDifference& difference) {
  json::object object;
  object["table"] = difference.table;
  object["key"] = difference.key;
  object["kind"] = word_of(difference.kind);
  object["column"] = difference.column.empty() ? json::value() : json::value(difference.column);
  object["expected"] = difference.expected;
  object["found"] = difference.found;
  return object;
}

json::object to_json(const ReplayReport& report) {
  json::object object;
  object["events"] = report.events;
  object["clusters"] = report.clusters;
  object["registry_entries"] = report.registry_entries;
  object["differences"] = list(report.differences);
  object["rebuilt"] = report.rebuilt;
  return object;
}

json::object to_json(const MoveReport& report) {
  json::object object;
  object["from"] = report.from;
  object["to"] = report.to;
  object["head"] = head_text(report.head);
  object["copied"] = report.copied;
  object["was_moved_before"] = report.was_moved_before;
  return object;
}

json::object to_json(const VerifyReport& report) {
  json::object object;
  object["ok"] = report.ok();
  object["head"] = head_text(report.head);
  object["streams"] = report.streams;
  json::array& problems = object["problems"].emplace_array();
  for (const LogProblem& problem : report.problems) {
    json::object& object_of_problem = problems.emplace_back(describe(problem)).get_object();
    object_of_problem["stream"] = clean(problem.stream);
  }
  return object;
}

CachedCluster read_cached_cluster(const json::object& columns) {
  return input::read_columns(columns);
}

std::string write_json(const json::value& value) { return text::json_text(value); }

}  // namespace dbcache
