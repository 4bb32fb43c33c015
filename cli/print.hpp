#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "cli/command.hpp"
#include "cli/terminal.hpp"

// Text in the manner of the documented `status`, and safe to show on a terminal.
namespace dbcache::cli {

/// `text` with what could steer a terminal or reorder a line made visible: control characters and
/// bytes that are not UTF-8 as \xNN, other such characters as \uNNNN. Names and messages come from
/// the log, and so from anybody who may write to it.
std::string escape(std::string_view text);

/// A blank line and `=== Title ===`.
void print_title(std::ostream& out, std::string_view title);

/// `  Key: value`, the value escaped.
void print_field(std::ostream& out, std::string_view key, std::string_view value);
void print_field(std::ostream& out, std::string_view key, std::int64_t value);

/// The columns of a row; those without a value are left out.
void print_cluster(Context& context, const CachedCluster& cluster);
void print_entry(std::ostream& out, const RegistryEntry& entry);

/// Says that there is no database, where there is none: what was just printed is empty for that. Or
/// that it takes no changes any more: what was just printed may be out of date for that.
void print_state_of_database(Context& context);

/// `dbcache: message` on stderr, after what stdout got so far.
void complain(Terminal& terminal, std::string_view message);

[[nodiscard]] std::string yes_no(bool value);
/// `1 cluster`, `2 clusters`.
[[nodiscard]] std::string count_of(std::int64_t count, std::string_view one, std::string_view many);
[[nodiscard]] std::string bytes(std::uintmax_t count);
/// A column's value as history and replay show it: text bare, times in seconds, the rest as JSON.
[[nodiscard]] std::string column_text(const boost::json::value& value);

}  // namespace dbcache::cli
