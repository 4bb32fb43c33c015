#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands.hpp"
#include "cli/print.hpp"

namespace json = boost::json;

namespace dbcache::cli {
namespace {

constexpr std::string_view indent = "    ";

/// Escape codes, or nothing where there are to be none.
struct Colors {
  std::string_view faint;
  std::string_view bold;
  std::string_view plain;
};

Colors colors_of(const Terminal& terminal) {
  if (!terminal.out_is_terminal || terminal.no_color) return {};
  return {"\x1b[2m", "\x1b[1m", "\x1b[0m"};
}

json::object parse_object(const std::string& text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  return !error && value.is_object() ? value.get_object() : json::object();
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return "";
  return column_text(*value);
}

/// `ci@build-7, pytest pid 4711, label nightly`.
std::string who(const RecordedEvent& event) {
  const json::object metadata = parse_object(event.metadata);
  std::string who =
      fmt::format("{}@{}, {} pid {}", text_of(metadata, "user"), text_of(metadata, "host"),
                  text_of(metadata, "program"), text_of(metadata, "pid"));
  const std::string label = text_of(metadata, "label");
  if (!label.empty()) who += ", label " + label;
  return who;
}

void print_change(std::ostream& out, const ColumnChange& change) {
  std::string before = column_text(change.before);
  std::string after = column_text(change.after);
  if (before == after) {
    // Times within one second: seconds hide the change.
    before = escape(write_json(change.before));
    after = escape(write_json(change.after));
  }
  out << indent << escape(change.column) << ": " << before << " -> " << after << '\n';
}

void print_changes(std::ostream& out, const RecordedEvent& event) {
  switch (event.effect) {
    case RowEffect::made:
      for (const ColumnChange& change : event.changes) {
        if (change.after.is_null()) continue;
        out << indent << escape(change.column) << ": " << column_text(change.after) << '\n';
      }
      break;
    case RowEffect::changed:
      for (const ColumnChange& change : event.changes) print_change(out, change);
      break;
    case RowEffect::removed:
      out << indent << "row removed\n";
      break;
    case RowEffect::none:
      break;
  }
}

/// What an event says beside its row's columns: why the row went, which cluster took over.
void print_remarks(std::ostream& out, const RecordedEvent& event) {
  const json::object payload = parse_object(event.payload);
  for (const std::string_view key : {"reason", "active_cluster_id"}) {
    const std::string text = text_of(payload, key);
    if (!text.empty()) out << indent << key << ": " << text << '\n';
  }
  const json::value* const notes = payload.if_contains("notes");
  if (notes == nullptr || !notes->is_array()) return;
  for (const json::value& note : notes->get_array()) {
    out << indent << "note: " << column_text(note) << '\n';
  }
}

/// An altered event may hold a time that is none.
std::string time_of(const RecordedEvent& event) {
  try {
    return format_seconds(event.recorded_at);
  } catch (const InvalidArgument&) {
    return std::to_string(event.recorded_at.time_since_epoch().count());
  }
}

void print_event(Context& context, const RecordedEvent& event) {
  const Colors colors = colors_of(context.terminal());
  std::ostream& out = context.out();
  out << colors.faint << '#' << event.position << "  " << time_of(event) << colors.plain << "  "
      << colors.bold << escape(event.type) << colors.plain << "  " << escape(event.stream) << "  "
      << colors.faint << who(event) << colors.plain << '\n';
  print_changes(out, event);
  print_remarks(out, event);
}

Timestamp time_of_option(std::string_view option, const std::string& text) {
  try {
    return parse_timestamp(text);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("{}: {}", option, error.what()));
  }
}

class History final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"history", Group::log,
            "Show what happened to a cluster or configuration, or to all of them",
            "dbcache history cluster-123 --since 2024-01-15 --limit 20"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("SUBJECT", "", subject_,
                       "A cluster id or config hash, also one long gone; none: the whole log");
    arguments.repeatable("--type", "TYPE", types_, "Only events of this type; may be repeated");
    arguments.optional("--since", "TIME", since_, "Only what was recorded then or later (UTC)");
    arguments.optional("--until", "TIME", until_, "Only what was recorded before then (UTC)");
    arguments.optional("--limit", "N", limit_, "At most so many events");
    arguments.flag("--reverse", reverse_, "Newest first");
  }

  ExitCode run(Context& context) override {
    const auto events = context.manager().history(query());
    if (context.json()) {
      json::array documents;
      for (const RecordedEvent& event : events) documents.push_back(to_json(event));
      context.print_json(std::move(documents));
    } else {
      for (const RecordedEvent& event : events) print_event(context, event);
    }
    if (!events.empty()) return ExitCode::done;
    return context.no(why_empty(context));
  }

 private:
  [[nodiscard]] HistoryQuery query() const {
    HistoryQuery query;
    if (subject_) {
      if (subject_->empty()) throw InvalidArgument("an empty cluster id or config hash");
      query.subject = *subject_;
    }
    query.types = types_;
    if (since_) query.since = time_of_option("--since", *since_);
    if (until_) query.until = time_of_option("--until", *until_);
    if (limit_) {
      if (*limit_ < 1) throw InvalidArgument("--limit: at least 1 is needed");
      query.limit = static_cast<std::size_t>(*limit_);
    }
    if (reverse_) query.order = HistoryOrder::newest_first;
    return query;
  }

  [[nodiscard]] std::string why_empty(Context& context) const {
    const DatabaseInfo info = context.manager().get_database_info();
    if (!info.exists) return "no events: there is no database yet at " + info.path;
    const bool filtered = !types_.empty() || since_ || until_;
    const std::string of_whom = subject_ ? fmt::format(" of '{}'", *subject_) : "";
    return fmt::format("no events{} in the log{}", of_whom,
                       filtered ? " that fit the filters" : "");
  }

  std::optional<std::string> subject_;
  std::vector<std::string> types_;
  std::optional<std::string> since_;
  std::optional<std::string> until_;
  std::optional<std::int64_t> limit_;
  bool reverse_ = false;
};

}  // namespace

CommandPointer make_history() { return std::make_unique<History>(); }

}  // namespace dbcache::cli
