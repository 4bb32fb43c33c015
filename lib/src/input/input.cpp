#include "input/input.hpp"

#include <algorithm>
#include <array>
#include <utf8.h>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "rows/fields.hpp"
#include "text/json_text.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::input {
namespace {

void require_text(std::string_view text, std::string_view what) {
  if (!text::is_utf8(text))
    throw InvalidArgument(fmt::format("{} is not valid UTF-8; encode it as UTF-8", what));
  if (text.find('\0') != std::string_view::npos) {
    throw InvalidArgument(fmt::format("{} contains a NUL character; remove it", what));
  }
}

std::string name_of(char32_t character) {
  if (character == U' ') return "a blank";
  if (character == U'\n' || character == U'\r') return "a line break";
  const auto number = static_cast<std::uint32_t>(character);
  const bool is_visible = number > 0x20 && number < 0x7F;
  return is_visible ? fmt::format("a {}", static_cast<char>(number))
                    : fmt::format("the character U+{:04X}", number);
}

/// The first character that the output of a command has, but no id of a cluster.
std::optional<char32_t> find_unlike_an_id(std::string_view id) {
  struct Range {
    char32_t first;
    char32_t last;
  };
  static constexpr std::array<Range, 11> odd{{{0x00, 0x20},        // controls, blank
                                              {0x7F, 0xA0},        // controls, no-break space
                                              {0xAD, 0xAD},        // soft hyphen
                                              {0x1680, 0x1680},    // a blank
                                              {0x2000, 0x200F},    // blanks, without width, marks
                                              {0x2018, 0x201F},    // quotes
                                              {0x2028, 0x202F},    // line ends, directions, blank
                                              {0x205F, 0x206F},    // blank, invisible operators
                                              {0x3000, 0x3000},    // a blank
                                              {0xFE00, 0xFE0F},    // invisible selectors
                                              {0xFEFF, 0xFEFF}}};  // the byte order mark
  static constexpr std::u32string_view signs = U"{}[]()<>\"'`\u00AB\u00BB";
  for (auto at = id.begin(); at != id.end();) {
    const char32_t character = utf8::next(at, id.end());
    const bool is_odd = std::any_of(odd.begin(), odd.end(), [&](const Range& range) {
      return range.first <= character && character <= range.last;
    });
    if (is_odd || signs.find(character) != std::u32string_view::npos) return character;
  }
  return std::nullopt;
}

[[noreturn]] void refuse(std::string_view key, std::string_view wanted) {
  throw InvalidArgument(fmt::format("the configuration's {} must be {}", key, wanted));
}

/// The value of a key, or null if it is missing or JSON null.
const json::value* given(const json::object& config, std::string_view key) {
  const json::value* value = config.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::string> read_text(const json::object& config, std::string_view key) {
  const json::value* value = given(config, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(key, "a string");
  require_text(value->get_string(), fmt::format("the configuration's {}", key));
  return std::string(value->get_string());
}

std::optional<std::int64_t> read_count(const json::object& config, std::string_view key) {
  const json::value* value = given(config, key);
  if (value == nullptr) return std::nullopt;
  json::error_code error;
  const auto count = value->is_number() ? value->to_number<std::int64_t>(error) : -1;
  if (error || count < 0) refuse(key, "a whole number of 0 or more");
  return count;
}

/// SQLite has no booleans, so a row that was read there has 0 or 1.
bool read_flag(const json::object& config, std::string_view key, bool otherwise = false) {
  const json::value* value = given(config, key);
  if (value == nullptr) return otherwise;
  if (value->is_bool()) return value->get_bool();
  json::error_code error;
  const auto number = value->is_number() ? value->to_number<std::int64_t>(error) : -1;
  if (error || (number != 0 && number != 1)) refuse(key, "true or false");
  return number == 1;
}

std::optional<Timestamp> read_time(const json::object& config, std::string_view key) {
  const auto text = read_text(config, key);
  return text ? std::optional(parse_timestamp(*text)) : std::nullopt;
}

void require_size(const json::object& configuration) {
  if (const std::size_t size = text::json_text(configuration).size();
      size > ClusterConfig::max_bytes) {
    throw InvalidArgument(fmt::format("the configuration has {} bytes as JSON; give at most {}",
                                      size, ClusterConfig::max_bytes));
  }
}

}  // namespace

std::string require_id(std::string_view id, std::string_view what) {
  if (id.empty()) throw InvalidArgument(fmt::format("the {} is empty; give one", what));
  if (id.size() > max_id_bytes) {
    throw InvalidArgument(
        fmt::format("the {} has {} bytes; give at most {}", what, id.size(), max_id_bytes));
  }
  require_text(id, fmt::format("the {}", what));
  return std::string(id);
}

std::string require_cluster_id(std::string_view id, std::string_view what) {
  constexpr std::array<std::string_view, 4> nothing{"null", "None", "nil", "undefined"};
  constexpr std::size_t most_shown = 100;
  if (!id.empty() && text::is_utf8(id)) {
    if (const auto odd = find_unlike_an_id(id)) {
      throw InvalidArgument(fmt::format(
          "the {} {} has {}, and an id has no blanks, control characters, brackets "
          "or quotes; give the id alone",
          what, text::json_text(json::string(text::cut_utf8(id, most_shown))), name_of(*odd)));
    }
    if (std::find(nothing.begin(), nothing.end(), id) != nothing.end()) {
      throw InvalidArgument(fmt::format(
          "the {} is '{}', which tools print where there is none; give the id of a cluster", what,
          id));
    }
  }
  return require_id(id, what);
}

void require_pid(std::int64_t pid) {
  if (pid < 1) throw InvalidArgument(fmt::format("{} is not a process id; give 1 or more", pid));
}

std::string clean_label(std::string_view label, const Redactor& redactor) {
  return std::string(text::cut_utf8(redactor.text(text::to_valid_utf8(label)), max_label_bytes));
}

std::string clean_error_message(std::string_view message, const Redactor& redactor) {
  require_text(message, "the error message");
  std::string clean = redactor.text(message);
  if (clean.size() <= max_error_message_bytes) return clean;
  return fmt::format("{} [cut: {} bytes in all]", text::cut_utf8(clean, max_error_message_bytes),
                     clean.size());
}

StatusDetails clean_details(const StatusDetails& details, const Redactor& redactor) {
  StatusDetails clean;
  if (details.cluster_id) clean.cluster_id = require_cluster_id(*details.cluster_id);
  if (details.error_message) {
    clean.error_message = clean_error_message(*details.error_message, redactor);
  }
  return clean;
}

ClusterInput read_cluster_input(std::string_view cluster_id, const ClusterConfig& config,
                                const system::Environment& environment) {
  ClusterInput input;
  input.cluster_id = require_cluster_id(cluster_id);
  const Redactor redactor(environment.databricks_token);
  input.configuration = redactor.json(config.values());
  require_size(input.configuration);
  input.cluster_name = read_text(input.configuration, "cluster_name");
  if (read_text(input.configuration, "host")) {
    json::string& host = input.configuration["host"].as_string();
    host = normalised_host(host);
  } else {
    require_text(environment.databricks_host, "DATABRICKS_HOST");
  }
  system::Environment clean = environment;
  clean.databricks_host = redactor.text(environment.databricks_host);
  input.host = workspace_host(input.configuration, clean);
  input.num_workers = read_count(input.configuration, "num_workers");
  if (auto status = read_text(input.configuration, "status")) input.status = std::move(*status);
  input.created_at = read_time(input.configuration, "created_at");
  input.is_shared = read_flag(input.configuration, "is_shared");
  return input;
}

CachedCluster read_columns(const json::object& columns) {
  CachedCluster row;
  row.cluster_id = read_text(columns, "cluster_id").value_or("");
  row.cluster_name = read_text(columns, "cluster_name");
  row.host = read_text(columns, "host");
  row.num_workers = read_count(columns, "num_workers");
  row.status = read_text(columns, "status").value_or(row.status);
  row.created_at = read_time(columns, "created_at").value_or(row.created_at);
  row.expiry_time = read_time(columns, "expiry_time").value_or(row.expiry_time);
  row.last_accessed = read_time(columns, "last_accessed").value_or(row.last_accessed);
  row.access_count = read_count(columns, "access_count").value_or(row.access_count);
  row.is_active = read_flag(columns, "is_active", row.is_active);
  row.is_shared = read_flag(columns, "is_shared", row.is_shared);
  return row;
}

json::object read_more_than_columns(const json::object& given, const Redactor& redactor) {
  json::object more = given;
  rows::for_each_member<CachedCluster>([&](auto column) { more.stable_erase(column.name); });
  more = redactor.json(more);
  require_size(more);
  return more;
}

std::string clean_any_message(std::string_view message, const Redactor& redactor) {
  std::string text = text::to_valid_utf8(message);
  std::erase(text, '\0');
  return clean_error_message(text, redactor);
}

CachedCluster clean_cluster(const CachedCluster& cluster, const Redactor& redactor) {
  CachedCluster clean = cluster;
  clean.cluster_id = require_cluster_id(cluster.cluster_id);
  const auto clean_text = [&](std::string& text, std::string_view what) {
    require_text(text, what);
    text = redactor.text(text);
    if (text.size() > max_error_message_bytes) {
      throw InvalidArgument(fmt::format("{} has {} bytes; give at most {}", what, text.size(),
                                        max_error_message_bytes));
    }
  };
  if (clean.cluster_name) clean_text(*clean.cluster_name, "the cluster name");
  if (clean.host) {
    clean_text(*clean.host, "the host");
    clean.host = normalised_host(*clean.host);
  }
  clean_text(clean.status, "the status");
  if (clean.num_workers && *clean.num_workers < 0) {
    throw InvalidArgument("the number of workers is negative; give 0 or more");
  }
  if (clean.access_count < 0) {
    throw InvalidArgument("the access count is negative; give 0 or more");
  }
  for (const Timestamp time : {clean.created_at, clean.expiry_time, clean.last_accessed}) {
    static_cast<void>(format_timestamp(time));  // throws for a time that cannot be stored
  }
  return clean;
}

void require_expiry(std::chrono::microseconds expiry) {
  if (expiry < std::chrono::microseconds{0} || expiry > std::chrono::years{100}) {
    throw InvalidArgument(
        fmt::format("the default expiry is {} s; it must be at least 0 and at most 100 years",
                    std::chrono::duration<double>(expiry).count()));
  }
}

}  // namespace dbcache::input
