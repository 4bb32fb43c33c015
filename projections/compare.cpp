#include "projections/compare.hpp"

#include <optional>

#include "projections/project.hpp"

namespace json = boost::json;

namespace dbcache::projections {

using namespace rows;

namespace {

void compare_rows(std::string_view table, const std::vector<RawRow>& expected,
                  const std::vector<RawRow>& found, std::vector<RowDifference>& differences) {
  const auto add = [&](const RawRow& row, RowDifference::Kind kind, std::string column,
                       json::value wanted, json::value got) {
    differences.push_back(
        {std::string(table), row.key, kind, std::move(column), std::move(wanted), std::move(got)});
  };
  // Both lists are sorted by key.
  auto want = expected.begin();
  auto have = found.begin();
  while (want != expected.end() || have != found.end()) {
    if (have == found.end() || (want != expected.end() && want->key < have->key)) {
      add(*want, RowDifference::Kind::missing, "", want->columns, nullptr);
      ++want;
    } else if (want == expected.end() || have->key < want->key) {
      add(*have, RowDifference::Kind::unexpected, "", nullptr, have->columns);
      ++have;
    } else {
      for (const auto& [column, value] : want->columns) {
        const json::value* got = have->columns.if_contains(column);
        if (got == nullptr || *got != value) {
          add(*want, RowDifference::Kind::changed, column, value,
              got == nullptr ? json::value() : *got);
        }
      }
      ++want;
      ++have;
    }
  }
}

/// The row of a stream as stored, if there is one.
std::optional<json::object> row_of(std::string_view stream, const TableReader& tables) {
  if (stream.starts_with(events::cluster_stream_prefix)) {
    stream.remove_prefix(events::cluster_stream_prefix.size());
    if (const auto row = tables.cluster(stream)) return stored_columns(*row);
  } else if (stream.starts_with(events::registry_stream_prefix)) {
    stream.remove_prefix(events::registry_stream_prefix.size());
    if (const auto row = tables.entry(stream)) return stored_columns(*row);
  }
  return std::nullopt;
}

}  // namespace

std::vector<RowDifference> compare(const TableReader& expected, const TableReader& found) {
  std::vector<RowDifference> differences;
  for (const std::string_view table : projected_tables) {
    compare_rows(table, expected.raw_rows(table), found.raw_rows(table), differences);
  }
  return differences;
}

Effect project_and_compare(const events::Event& event, std::int64_t position, Tables& tables) {
  const std::string stream = events::stream_of(event);
  const auto before = row_of(stream, tables);
  project(event, position, tables);
  const auto after = row_of(stream, tables);

  Effect result;
  if (!before && !after) return result;
  result.effect = !before ? RowEffect::made : !after ? RowEffect::removed : RowEffect::changed;
  for (const auto& [column, value] : before ? *before : *after) {
    const json::value was = before ? value : json::value();
    const json::value is = after ? after->at(column) : json::value();
    if (was != is) result.changes.push_back({column, was, is});
  }
  if (result.changes.empty()) result.effect = RowEffect::none;
  return result;
}

}  // namespace dbcache::projections
