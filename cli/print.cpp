#include "cli/print.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include <dbcache/json.hpp>
#include <dbcache/time.hpp>

namespace dbcache::cli {
namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;
};

/// The code point that `text`, which is not empty, begins with; nothing for ill-formed UTF-8.
std::optional<CodePoint> first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  if (byte(0) < 0x80) return CodePoint{byte(0), 1};
  const std::size_t size = byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < size) return std::nullopt;
  char32_t value = byte(0) & (0xFFU >> (size + 1));
  for (std::size_t at = 1; at < size; ++at) {
    if ((byte(at) & 0xC0) != 0x80) return std::nullopt;
    value = (value << 6) | (byte(at) & 0x3F);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least[size] || surrogate || value > 0x10FFFF) return std::nullopt;
  return CodePoint{value, size};
}

/// C1 controls, line separators, and characters that set the direction of text.
bool controls_terminal(char32_t point) {
  const auto within = [point](char32_t first, char32_t last) {
    return point >= first && point <= last;
  };
  return within(0x80, 0x9F) || point == 0x61C || within(0x200E, 0x200F) || within(0x2028, 0x202E) ||
         within(0x2066, 0x2069);
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
  while (!text.empty()) {
    const auto point = first_code_point(text);
    const std::size_t size = point ? point->size : 1;
    if (!point || point->value < 0x20 || point->value == 0x7F) {
      escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    } else if (controls_terminal(point->value)) {
      escaped += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(point->value));
    } else {
      escaped += text.substr(0, size);
    }
    text.remove_prefix(size);
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
                << ": the first cluster or entry makes it.\n";
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
