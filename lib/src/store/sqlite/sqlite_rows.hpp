#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "store/sql/lease_statements.hpp"
#include "store/sql/row_reader.hpp"
#include "store/sql/statements.hpp"
#include "store/sqlite/connection.hpp"
#include "text/hex.hpp"
#include "text/utf8.hpp"

// Rows of the projected tables as SQLite's statements give them, and the statements in its dialect.
namespace dbcache::store::sqlite {

struct SqliteDialect {
  static std::string parameter(int number, std::string_view = {}) {
    return fmt::format("?{}", number);
  }
  static std::string is_true(std::string_view column) { return fmt::format("({} <> 0)", column); }
  static constexpr std::string_view entry_clusters = "entry_clusters";
  static constexpr std::string_view is_active = "is_active > 0";  // `<>` would not use the index
};
template <class Row>
using Statements = sql::Statements<SqliteDialect, Row>;
using LeaseStatements = sql::LeaseStatements<SqliteDialect>;

/// A column as JSON, whatever it holds (see rows::DocumentedRows).
inline boost::json::value raw_value(const Statement& statement, int at) {
  switch (statement.type(at)) {
    case SQLITE_INTEGER:
      return statement.integer(at);
    case SQLITE_FLOAT: {
      const double number = statement.real(at);
      if (std::isfinite(number)) return number;
      return boost::json::object{{"real", number > 0 ? "inf" : "-inf"}};
    }
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_BLOB:
      return boost::json::object{{"blob", text::to_hex(statement.bytes(at))}};
    default: {
      const std::string_view bytes = statement.bytes(at);
      if (!text::is_utf8(bytes)) return boost::json::object{{"text", text::to_hex(bytes)}};
      return boost::json::string(bytes);
    }
  }
}

/// The present row of a statement, as RowReader reads it.
class Columns {
 public:
  explicit Columns(const Statement& statement) : statement_(statement) {}

  [[nodiscard]] bool is_null(int at) const { return statement_.type(at) == SQLITE_NULL; }
  [[nodiscard]] std::optional<std::int64_t> integer(int at) const {
    if (statement_.type(at) != SQLITE_INTEGER) return std::nullopt;
    return statement_.integer(at);
  }
  [[nodiscard]] std::optional<std::string_view> text(int at) const {
    if (statement_.type(at) != SQLITE_TEXT) return std::nullopt;
    return statement_.bytes(at);
  }
  [[nodiscard]] boost::json::value raw(int at) const { return raw_value(statement_, at); }

 private:
  const Statement& statement_;
};

template <class Row>
std::vector<Row> read_rows(Statement& statement) {
  std::vector<Row> rows;
  const Columns columns(statement);
  while (statement.step()) {
    rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
  }
  return rows;
}

template <class Row>
std::optional<Row> read_row(Statement& statement) {
  if (!statement.step()) return std::nullopt;
  const Columns columns(statement);
  return sql::RowReader(columns, sql::Table<Row>::name).template read<Row>();
}

// The key must live until the statement is given back.
inline void lend_key(Statement& statement, int at, std::string_view key) {
  statement.lend(at, key);
}
inline void lend_key(Statement& statement, int at, std::int64_t key) { statement.bind(at, key); }

template <class Row, class Key>
std::optional<Row> find_row(Connection& connection, const Key& key) {
  auto query = connection.prepare(Statements<Row>::select_one().c_str());
  lend_key(*query, 1, key);
  return read_row<Row>(*query);
}

template <class Row>
std::vector<Row> all_rows(Connection& connection, const std::string& sql) {
  auto query = connection.prepare(sql.c_str());
  return read_rows<Row>(*query);
}

}  // namespace dbcache::store::sqlite
