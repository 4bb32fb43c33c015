#include "store/clusters_where.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <unordered_set>

#include <SQLiteCpp/SQLiteCpp.h>
#include <boost/algorithm/string/case_conv.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/time.hpp>

#include "store/sqlite/connection.hpp"
#include "system/fork_gate.hpp"
#include "text/utf8.hpp"

namespace dbcache::store {
namespace {

using sqlite::Statement;
using Clock = std::chrono::steady_clock;

/// The documented table, but for what only its writers need. Its times compare as moments.
constexpr const char* schema = R"sql(
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY,
    cluster_id TEXT,
    cluster_name TEXT,
    host TEXT,
    num_workers INTEGER,
    status TEXT,
    created_at TIMESTAMP COLLATE moment,
    expiry_time TIMESTAMP COLLATE moment,
    last_accessed TIMESTAMP COLLATE moment,
    access_count INTEGER,
    is_active BOOLEAN,
    is_shared BOOLEAN
))sql";

/// What a condition may call: it computes from its arguments (and the present), and what it makes
/// is no larger than they are, or than SQLITE_LIMIT_LENGTH. Sorted.
constexpr std::array<std::string_view, 43> pure_functions{
    "abs",       "avg",        "ceil",         "ceiling",      "char",
    "coalesce",  "count",      "current_date", "current_time", "current_timestamp",
    "date",      "datetime",   "floor",        "glob",         "hex",
    "ifnull",    "iif",        "instr",        "julianday",    "length",
    "like",      "likelihood", "likely",       "lower",        "ltrim",
    "max",       "min",        "nullif",       "quote",        "replace",
    "round",     "rtrim",      "sign",         "strftime",     "substr",
    "substring", "sum",        "time",         "total",        "trim",
    "typeof",    "unicode",    "upper"};
static_assert(std::ranges::is_sorted(pure_functions));

constexpr int max_condition_bytes = 64 << 10;
/// One step may be an instr(), a replace() or a LIKE, which take as long as one text times another:
/// so texts are short where the rows' own are, and the time is looked at every few steps.
constexpr std::size_t least_value_bytes = std::size_t{16} << 10;
constexpr int max_pattern_bytes = 1000;
constexpr int max_expression_depth = 500;
constexpr int steps_between_looks = 10;
constexpr std::int64_t max_steps = 50'000'000;
constexpr std::chrono::seconds max_duration{3};  // a fork waits for it no longer than five

int authorize(void*, int action, const char* first, const char* second, const char*, const char*) {
  const auto is_pure = [](std::string name) {
    boost::algorithm::to_lower(name);
    return std::ranges::binary_search(pure_functions, name);
  };
  switch (action) {
    case SQLITE_SELECT:
      return SQLITE_OK;
    case SQLITE_READ:
      return first != nullptr && std::string_view(first) == "clusters" ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_FUNCTION:
      return second != nullptr && is_pure(second) ? SQLITE_OK : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

/// SQLite's datetime() has a space where the columns have a `T`; as texts the two forms of a day
/// would compare by that alone, and nothing would expire on the day it was made.
int compare_moments(void*, int left_size, const void* left, int right_size, const void* right) {
  constexpr std::size_t separator = 10;
  const auto text = [](int size, const void* bytes) {
    std::string moment(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
    if (moment.size() > separator && moment[separator] == ' ') moment[separator] = 'T';
    return moment;
  };
  return text(left_size, left).compare(text(right_size, right));
}

/// What an evaluation has left.
struct Allowance {
  std::int64_t looks = max_steps / steps_between_looks;
  Clock::time_point until = Clock::now() + max_duration;

  static int look(void* of) {
    auto& allowance = *static_cast<Allowance*>(of);
    return --allowance.looks > 0 && Clock::now() < allowance.until ? 0 : 1;
  }
};

/// What a condition may make of the rows.
int max_value_bytes(const std::vector<CachedCluster>& rows) {
  std::size_t most = least_value_bytes;
  for (const CachedCluster& row : rows) {
    const std::size_t texts = row.cluster_id.size() + row.status.size() +
                              row.cluster_name.value_or("").size() + row.host.value_or("").size();
    most = std::max(most, 2 * texts);
  }
  return static_cast<int>(std::min<std::size_t>(most, std::numeric_limits<int>::max()));
}

void fill(sqlite3* database, const std::vector<CachedCluster>& rows) {
  Statement insert(database, "INSERT INTO clusters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const CachedCluster& row : rows) {
    insert.bind(1, row.id);
    insert.bind(2, std::string_view(row.cluster_id));
    insert.bind(3, row.cluster_name);
    insert.bind(4, row.host);
    insert.bind(5, row.num_workers);
    insert.bind(6, std::string_view(row.status));
    insert.bind(7, std::string_view(format_timestamp(row.created_at)));
    insert.bind(8, std::string_view(format_timestamp(row.expiry_time)));
    insert.bind(9, std::string_view(format_timestamp(row.last_accessed)));
    insert.bind(10, row.access_count);
    insert.bind(11, std::int64_t{row.is_active});
    insert.bind(12, std::int64_t{row.is_shared});
    insert.step();
    insert.reset();
  }
}

[[noreturn]] void refuse(std::string_view reason) {
  throw InvalidArgument(fmt::format(
      "the condition on clusters cannot be used: {}; give one SQL expression over its columns",
      reason));
}

using Prepared = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

/// One statement that reads and no more, or a refusal.
Prepared prepare(sqlite3* database, const std::string& sql) {
  sqlite3_stmt* made = nullptr;
  const char* rest = nullptr;
  const int result =
      sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &made, &rest);
  Prepared statement(made, &sqlite3_finalize);
  if (result != SQLITE_OK) refuse(sqlite3_errmsg(database));
  if (rest != sql.data() + sql.size()) refuse("it goes on after its end");
  if (sqlite3_bind_parameter_count(made) != 0) refuse("it has parameters, which nobody fills");
  return statement;
}

}  // namespace

std::vector<CachedCluster> clusters_where(std::vector<CachedCluster> rows,
                                          std::string_view condition) {
  if (!text::is_utf8(condition)) refuse("it is not valid UTF-8");
  if (condition.find('\0') != std::string_view::npos) refuse("it holds a NUL character");
  if (condition.size() > max_condition_bytes) {
    refuse(fmt::format("it has {} bytes, and at most {} are taken", condition.size(),
                       max_condition_bytes));
  }

  const system::ForkGate::Pass pass;  // a fork may catch SQLite's own mutexes locked, too
  const SQLite::Database memory(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  sqlite3* const database = memory.getHandle();
  sqlite3_create_collation(database, "moment", SQLITE_UTF8, nullptr, &compare_moments);
  sqlite3_exec(database, schema, nullptr, nullptr, nullptr);
  fill(database, rows);

  sqlite3_limit(database, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(database, SQLITE_LIMIT_LENGTH, max_value_bytes(rows));
  sqlite3_limit(database, SQLITE_LIMIT_EXPR_DEPTH, max_expression_depth);
  sqlite3_limit(database, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, max_pattern_bytes);
  sqlite3_set_authorizer(database, &authorize, nullptr);
  Allowance allowance;
  sqlite3_progress_handler(database, steps_between_looks, &Allowance::look, &allowance);

  // An expression can stand in both places, in brackets and without. What closes the bracket early
  // cannot in the second, and what follows an expression (ORDER BY, UNION) cannot in the first. The
  // line's end is for a comment.
  prepare(database, fmt::format("SELECT id FROM clusters WHERE {}\n", condition));
  const Prepared statement =
      prepare(database, fmt::format("SELECT id FROM clusters WHERE ({}\n)", condition));
  std::unordered_set<std::int64_t> chosen;
  int result = SQLITE_ROW;
  while ((result = sqlite3_step(statement.get())) == SQLITE_ROW) {
    chosen.insert(sqlite3_column_int64(statement.get(), 0));
  }
  if (result == SQLITE_INTERRUPT) refuse("it takes too long to evaluate");
  if (result != SQLITE_DONE) refuse(sqlite3_errmsg(database));
  std::erase_if(rows, [&](const CachedCluster& row) { return !chosen.contains(row.id); });
  return rows;
}

}  // namespace dbcache::store
