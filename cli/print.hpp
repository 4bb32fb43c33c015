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

// Prints in the form of the documented `status`, safe to show on a terminal.
namespace dbcache::cli {

/// Makes characters visible that could control a terminal or reorder a line: control characters and
/// bytes that are not UTF-8 as \xNN, others as \uNNNN. Names and messages come from the log, so any
/// process that may write to it can choose them.
std::string escape(std::string_view text);

/// A blank line and `=== Title ===`.
void print_title(std::ostream& out, std::string_view title);

/// `  Key: value`, the value escaped.
void print_field(std::ostream& out, std::string_view key, std::string_view value);
void print_field(std::ostream& out, std::string_view key, std::int64_t value);

/// Prints the columns of a row that have a value.
void print_cluster(Context& context, const CachedCluster& cluster);
void print_entry(std::ostream& out, const RegistryEntry& entry);

/// Prints a note if there is no database, so the output above is empty, or if the database takes no
/// more changes, so the output above may be out of date.
void print_database_note(Context& context);

/// Prints `dbcache: message` on stderr, after it has flushed stdout.
void print_diagnostic(Terminal& terminal, std::string_view message);

[[nodiscard]] std::string yes_no(bool value);
/// `1 cluster`, `2 clusters`.
[[nodiscard]] std::string count_of(std::int64_t count, std::string_view one, std::string_view many);
[[nodiscard]] std::string bytes(std::uintmax_t count);
/// The value of a column in history and replay: text without quotes, times in seconds, the rest
/// JSON.
[[nodiscard]] std::string column_text(const boost::json::value& value);

}  // namespace dbcache::cli
