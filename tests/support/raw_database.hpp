#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>

// A database touched by hand, behind the library's back.
namespace dbcache::test {

inline SQLite::Database open_raw(const std::string& path) {
  return {path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 5000};
}

/// Runs statements by hand.
inline void run_sql(const std::string& path, const std::string& sql) { open_raw(path).exec(sql); }

/// The first column of every row, as text.
inline std::vector<std::string> query_column(const std::string& path, const std::string& sql) {
  SQLite::Database database = open_raw(path);
  SQLite::Statement statement(database, sql);
  std::vector<std::string> values;
  while (statement.executeStep()) values.push_back(statement.getColumn(0).getString());
  return values;
}

/// The first column of the first row, as text; empty where there is none.
inline std::string query_text(const std::string& path, const std::string& sql) {
  const auto values = query_column(path, sql);
  return values.empty() ? "" : values.front();
}

/// Takes away what keeps the log append-only.
inline void drop_triggers(const std::string& path) {
  run_sql(path,
          "DROP TRIGGER events_refuse_update; DROP TRIGGER events_refuse_delete; "
          "DROP TRIGGER events_refuse_replace");
}

}  // namespace dbcache::test
