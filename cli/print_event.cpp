#include "cli/print_event.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/print.hpp"

namespace json = boost::json;

namespace dbcache::cli {
namespace {

constexpr std::string_view indent = "    ";

/// Escape codes, or empty without colours.
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
    // Both times are in the same second: show the fractions.
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

/// `pid 4711 on build-7, label nightly, until 2026-01-15T12:30:00`.
std::string holder_of(const json::object& holder) {
  const json::value* const process = holder.if_contains("process");
  const json::object identity =
      process != nullptr && process->is_object() ? process->get_object() : json::object();
  std::string text = fmt::format("pid {} on {}", text_of(identity, "pid"), text_of(holder, "host"));
  for (const std::string_view key : {"label", "until"}) {
    const std::string value = text_of(holder, key);
    if (!value.empty()) text += fmt::format(", {} {}", key, value);
  }
  return text;
}

/// The payload's fields that are no columns: why a row was removed, who holds a lease, and so on.
void print_remarks(std::ostream& out, const RecordedEvent& event) {
  const json::object payload = parse_object(event.payload);
  const auto was_shown = [&event](std::string_view column) {
    return std::any_of(event.changes.begin(), event.changes.end(),
                       [column](const ColumnChange& change) { return change.column == column; });
  };
  const auto remark = [&](std::string_view key) {
    if (was_shown(key)) return;
    const std::string text = text_of(payload, key);
    if (!text.empty()) out << indent << key << ": " << text << '\n';
  };
  for (const std::string_view key :
       {"lease", "creation", "check", "termination", "participant", "subject"}) {
    remark(key);
  }
  // In other events it is the name of the stream, or unchanged.
  if (event.type.starts_with("Lease") || event.type.starts_with("Check")) remark("cluster_id");
  const json::value* const holder = payload.if_contains("holder");
  if (holder != nullptr && holder->is_object()) {
    out << indent << "holder: " << holder_of(holder->get_object()) << '\n';
  }
  for (const std::string_view key :
       {"by", "kind", "name", "policy", "run", "until", "idempotency_token", "answer", "reason",
        "error", "active_cluster_id"}) {
    remark(key);
  }
  const json::value* const notes = payload.if_contains("notes");
  if (notes == nullptr || !notes->is_array()) return;
  for (const json::value& note : notes->get_array()) {
    out << indent << "note: " << column_text(note) << '\n';
  }
}

/// An altered event may hold an invalid time.
std::string time_of(const RecordedEvent& event) {
  try {
    return format_seconds(event.recorded_at);
  } catch (const InvalidArgument&) {
    return std::to_string(event.recorded_at.time_since_epoch().count());
  }
}

}  // namespace

void print_event(Context& context, const RecordedEvent& event) {
  const Colors colors = colors_of(context.terminal());
  std::ostream& out = context.out();
  out << colors.faint << '#' << event.position << "  " << time_of(event) << colors.plain << "  "
      << colors.bold << escape(event.type) << colors.plain << "  " << escape(event.stream) << "  "
      << colors.faint << who(event) << colors.plain << '\n';
  print_changes(out, event);
  print_remarks(out, event);
}

}  // namespace dbcache::cli
