#include "cli/print.hpp"

#include <algorithm>
#include <optional>
#include <utf8.h>

#include <fmt/format.h>

#include <dbcache/json.hpp>
#include <dbcache/time.hpp>

namespace dbcache::cli {
namespace {

/// C1 controls, line separators, and characters that set the direction of text.
bool controls_terminal(std::uint32_t point) {
  const auto within = [point](std::uint32_t first, std::uint32_t last) {
    return point >= first && point <= last;
  };
  return within(0x80, 0x9F) || point == 0x61C || within(0x200E, 0x200F) || within(0x2028, 0x202E) ||
         within(0x2066, 0x2069);
}

void append_byte(std::string& escaped, char byte) {
  escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
}

/// Appends the code point at `at`, in valid UTF-8, and advances `at` past it.
void append_code_point(std::string& escaped, std::string_view::const_iterator& at) {
  const auto begin = at;
  const std::uint32_t point = utf8::unchecked::next(at);
  if (point < 0x20 || point == 0x7F) {
    append_byte(escaped, *begin);
  } else if (controls_terminal(point)) {
    escaped += fmt::format("\\u{:04x}", point);
  } else {
    escaped.append(begin, at);
  }
}

/// The time, if the text has the stored form of one (`2026-01-15T10:30:00.000000`).
std::optional<Timestamp> stored_time(std::string_view text) {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd.dddddd";
  const bool fits =
      std::equal(text.begin(), text.end(), form.begin(), form.end(), [](char found, char expected) {
        return expected == 'd' ? found >= '0' && found <= '9' : found == expected;
      });
  if (!fits) return std::nullopt;
  try {
    return parse_timestamp(text);
  } catch (const InvalidArgument&) {
    return std::nullopt;
  }
}

}  // namespace

std::string escape(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (auto at = text.begin(); at != text.end();) {
    const auto valid_end = utf8::find_invalid(at, text.end());
    while (at != valid_end) append_code_point(escaped, at);
    if (at != text.end()) append_byte(escaped, *at++);
  }
  return escaped;
}

void print_title(std::ostream& out, std::string_view title) {
  out << "\n=== " << title << " ===\n";
}

void print_field(std::ostream& out, std::string_view key, std::string_view value) {
  out << "  " << key << ": " << escape(value) << '\n';
}

void print_field(std::ostream& out, std::string_view key, std::int64_t value) {
  print_field(out, key, std::to_string(value));
}

void print_cluster(Context& context, const CachedCluster& cluster) {
  std::ostream& out = context.out();
  print_field(out, "Cluster ID", cluster.cluster_id);
  if (cluster.cluster_name) print_field(out, "Cluster Name", *cluster.cluster_name);
  if (cluster.host) print_field(out, "Host", *cluster.host);
  if (cluster.num_workers) print_field(out, "Workers", *cluster.num_workers);
  print_field(out, "Status", cluster.status);
  print_field(out, "Created At", format_seconds(cluster.created_at));
  print_field(out, "Expires At", format_seconds(cluster.expiry_time));
  print_field(out, "Is Active", yes_no(cluster.is_active));
  print_field(out, "Is Valid", yes_no(context.manager().is_cluster_cache_valid(cluster)));
  print_field(out, "Access Count", cluster.access_count);
  print_field(out, "Is Shared", yes_no(cluster.is_shared));
  print_field(out, "Last Accessed", format_seconds(cluster.last_accessed));
}

void print_entry(std::ostream& out, const RegistryEntry& entry) {
  print_field(out, "Config Hash", entry.config_hash);
  print_field(out, "Status", to_string(entry.status));
  if (entry.cluster_id) print_field(out, "Cluster ID", *entry.cluster_id);
  print_field(out, "Usage Count", entry.usage_count);
  if (entry.worker_pid) print_field(out, "Worker PID", *entry.worker_pid);
  print_field(out, "Created At", format_seconds(entry.creation_time));
  if (entry.error_message) print_field(out, "Error Message", *entry.error_message);
}

void print_database_note(Context& context) {
  const DatabaseInfo info = context.manager().get_database_info();
  if (info.closed) context.out() << "  Note: " << escape(*info.closed) << '\n';
  if (info.exists) return;
  context.out() << "  There is no database yet at " << escape(info.path)
                << "; the first cluster or entry creates it.\n";
}

void print_diagnostic(Terminal& terminal, std::string_view message) {
  terminal.out.flush();
  // In one write: several processes may print at once.
  terminal.err << fmt::format("dbcache: {}\n", escape(message)) << std::flush;
}

std::string yes_no(bool value) { return value ? "Yes" : "No"; }

std::string count_of(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string bytes(std::uintmax_t count) { return fmt::format("{} bytes", count); }

std::string column_text(const boost::json::value& value) {
  if (!value.is_string()) return escape(write_json(value));
  const std::string_view text = value.get_string();
  if (const auto time = stored_time(text)) return format_seconds(*time);
  return escape(text);
}

}  // namespace dbcache::cli
