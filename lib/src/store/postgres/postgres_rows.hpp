#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "store/postgres/result.hpp"
#include "store/sql/lease_statements.hpp"
#include "store/sql/row_reader.hpp"
#include "store/sql/statements.hpp"

// Rows of the projected tables as the server answers with them, and the statements in its dialect.
namespace dbcache::store::postgres {

/// A row of a result, as RowReader reads it.
class Columns {
 public:
  Columns(const Result& result, int row) : result_(result), row_(row) {}

  [[nodiscard]] bool is_null(int at) const { return result_.is_null(row_, at); }
  [[nodiscard]] std::optional<std::int64_t> integer(int at) const {
    if (is_null(at)) return std::nullopt;
    if (result_.is_boolean(at)) return result_.is_true(row_, at) ? 1 : 0;
    return result_.integer(row_, at);
  }
  [[nodiscard]] std::optional<std::string_view> text(int at) const {
    if (is_null(at)) return std::nullopt;
    return result_.text(row_, at);
  }
  [[nodiscard]] boost::json::value raw(int at) const {
    if (is_null(at)) return nullptr;
    if (result_.is_boolean(at) || result_.is_integer(at)) return integer(at).value();
    return boost::json::string(result_.text(row_, at));
  }

 private:
  const Result& result_;
  int row_;
};

struct PostgresDialect {
  static std::string parameter(int number, std::string_view type = {}) {
    return fmt::format("${}{}{}", number, type.empty() ? "" : "::", type);
  }
  static std::string is_true(std::string_view column) { return std::string(column); }
  static constexpr std::string_view entry_clusters = "shared_cluster_registry";
  static constexpr std::string_view is_active = "is_active";
};
template <class Row>
using Statements = sql::Statements<PostgresDialect, Row>;
using LeaseStatements = sql::LeaseStatements<PostgresDialect>;

template <class Row>
std::vector<Row> read_rows(const Result& result) {
  std::vector<Row> rows;
  for (int at = 0; at < result.rows(); ++at) {
    const Columns columns(result, at);
    rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
  }
  return rows;
}

template <class Row>
std::optional<Row> read_row(const Result& result) {
  auto rows = read_rows<Row>(result);
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

}  // namespace dbcache::store::postgres
