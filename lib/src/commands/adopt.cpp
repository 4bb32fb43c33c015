#include "commands/adopt.hpp"

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "input/input.hpp"
#include "rows/rows.hpp"
#include "text/civil_time.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache::commands {

namespace {

/// Blobs and invalid texts are kept as hex, which may hide a token.
json::object without_hidden_secrets(json::object row, const input::Redactor& redactor) {
  for (auto& column : row) {
    auto* bytes = column.value().if_object();
    if (bytes == nullptr || bytes->contains("real")) continue;
    json::value& hex = bytes->begin()->value();
    hex = json::string(text::to_hex(redactor.text(text::from_hex(hex.as_string()))));
  }
  return row;
}

/// Reads the columns of one row, and notes each value that must be replaced.
class RowReader {
 public:
  RowReader(const json::object& row, std::string_view table, const Zone& zone,
            const input::Redactor& redactor, Timestamp now)
      : row_(without_hidden_secrets(row, redactor)),
        table_(table),
        zone_(zone),
        redactor_(redactor),
        now_(now) {}

  std::string id(std::string_view column) const {
    const json::value& value = at(column);
    try {
      if (!value.is_string()) throw InvalidArgument("it is not text");
      return input::require_id(value.get_string(), column);
    } catch (const InvalidArgument& error) {
      throw CorruptDatabase(
          fmt::format("row {} of {} cannot be adopted: {}; repair or delete that row by hand",
                      text::json_text(at("id")), table_, error.what()));
    }
  }

  /// An id that may be missing.
  std::optional<std::string> id_if_any(std::string_view column) {
    const json::value& value = at(column);
    if (value.is_null()) return std::nullopt;
    try {
      if (value.is_string()) return input::require_id(value.get_string(), column);
    } catch (const InvalidArgument&) {
    }
    note(column, "taken as none");
    return std::nullopt;
  }

  std::optional<std::string> text(std::string_view column) {
    const json::value& value = at(column);
    if (value.is_null()) return std::nullopt;
    if (value.is_string()) return redactor_.text(value.get_string());
    note(column, "taken as none");
    return std::nullopt;
  }

  std::string text_or(std::string_view column, std::string_view otherwise) {
    const json::value& value = at(column);
    if (value.is_string()) return redactor_.text(value.get_string());
    note(column, fmt::format("taken as {}", otherwise));
    return std::string(otherwise);
  }

  std::optional<std::int64_t> integer(std::string_view column, std::int64_t least) {
    const json::value& value = at(column);
    if (value.is_null()) return std::nullopt;
    if (value.is_int64() && value.get_int64() >= least) return value.get_int64();
    note(column, "taken as none");
    return std::nullopt;
  }

  std::int64_t count(std::string_view column) {
    const json::value& value = at(column);
    if (value.is_int64() && value.get_int64() >= 0) return value.get_int64();
    note(column, "taken as 0");
    return 0;
  }

  bool flag(std::string_view column) {
    const json::value& value = at(column);
    if (value.is_int64()) return value.get_int64() != 0;
    note(column, "taken as 0");
    return false;
  }

  Timestamp time(std::string_view column) {
    const json::value& value = at(column);
    const auto civil = value.is_string() ? text::read_civil_time(value.get_string()) : std::nullopt;
    const auto moment = civil ? moment_of(*civil) : std::nullopt;
    if (!moment) note(column, "taken as the time of adoption");
    return moment.value_or(now_);
  }

  void note(std::string_view column, std::string_view outcome) {
    notes_.push_back(fmt::format("{} of the row {} was {}: {}", column, text::json_text(at("id")),
                                 redactor_.text(text::json_text(at(column))), outcome));
  }

  /// The row as it was, without secrets. Ids are kept as they are.
  [[nodiscard]] json::object original() const {
    json::object clean = redactor_.json(row_);
    for (const std::string_view id : {"cluster_id", "config_hash"}) {
      if (const json::value* value = row_.if_contains(id)) clean[id] = *value;
    }
    return clean;
  }

  std::vector<std::string> take_notes() { return std::move(notes_); }

 private:
  /// Nothing if the zone moves the time out of the years that can be stored. In most zones it does
  /// so with datetime.min or datetime.max of Python.
  [[nodiscard]] std::optional<Timestamp> moment_of(const text::CivilTime& civil) const {
    Timestamp moment(civil.local.time_since_epoch() -
                     civil.offset.value_or(std::chrono::minutes(0)));
    if (!civil.offset && civil.has_t) moment = zone_.to_utc(civil.local);
    try {
      static_cast<void>(format_timestamp(moment));
    } catch (const InvalidArgument&) {
      return std::nullopt;
    }
    return moment;
  }

  [[nodiscard]] const json::value& at(std::string_view column) const {
    static const json::value none;
    const json::value* value = row_.if_contains(column);
    return value == nullptr ? none : *value;
  }

  json::object row_;
  std::string_view table_;
  const Zone& zone_;
  const input::Redactor& redactor_;
  Timestamp now_;
  std::vector<std::string> notes_;
};

events::ClusterImported import_cluster(RowReader& row) {
  CachedCluster cluster;
  cluster.cluster_id = row.id("cluster_id");
  cluster.cluster_name = row.text("cluster_name");
  cluster.host = row.text("host");
  cluster.num_workers = row.integer("num_workers", 0);
  cluster.status = row.text_or("status", "RUNNING");
  cluster.created_at = row.time("created_at");
  cluster.expiry_time = row.time("expiry_time");
  cluster.last_accessed = row.time("last_accessed");
  cluster.access_count = row.count("access_count");
  cluster.is_active = row.flag("is_active");
  cluster.is_shared = row.flag("is_shared");
  return {cluster, row.original(), row.take_notes()};
}

events::EntryImported import_entry(RowReader& row) {
  RegistryEntry entry;
  entry.config_hash = row.id("config_hash");
  entry.cluster_id = row.id_if_any("cluster_id");
  entry.worker_pid = row.integer("worker_pid", 1);
  entry.creation_time = row.time("creation_time");
  entry.usage_count = row.count("usage_count");
  entry.error_message = row.text("error_message");
  const auto status = row.text("status");
  try {
    entry.status = parse_registry_status(status.value_or(""));
  } catch (const InvalidArgument&) {
    entry.status = RegistryStatus::failed;
    row.note("status", "taken as failed, which nobody joins");
  }
  if (entry.status == RegistryStatus::ready && !entry.cluster_id) {
    entry.status = RegistryStatus::failed;
    row.note("status", "without a cluster id; taken as failed, which nobody joins");
  }
  return {entry, row.original(), row.take_notes()};
}

template <class Import>
std::int64_t import_each(const std::vector<json::object>& rows, std::string_view table,
                         const Zone& zone, const input::Redactor& redactor, Timestamp now,
                         events::Adoption& adoption, Import import) {
  for (const json::object& row : rows) {
    RowReader reader(row, table, zone, redactor, now);
    auto event = import(reader);
    for (const std::string& note : event.notes) {
      adoption.report.notes.push_back(fmt::format("{}: {}", table, note));
    }
    adoption.events.emplace_back(std::move(event));
  }
  return static_cast<std::int64_t>(rows.size());
}

}  // namespace

events::Adoption adopt(const rows::DocumentedRows& rows, const Zone& zone,
                       const input::Redactor& redactor, Timestamp now) {
  events::Adoption adoption;
  adoption.report.timezone = zone.name();
  adoption.report.clusters = import_each(rows.clusters, rows::clusters_table, zone, redactor, now,
                                         adoption, import_cluster);
  adoption.report.registry_entries =
      import_each(rows.entries, rows::registry_table, zone, redactor, now, adoption, import_entry);
  return adoption;
}

}  // namespace dbcache::commands
