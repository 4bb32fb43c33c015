#pragma once

#include <libpq-fe.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace dbcache::test {

/// A session with a PostgreSQL server by hand, behind the library's back. What fails throws
/// std::runtime_error with the server's words.
class PostgresConnection {
 public:
  explicit PostgresConnection(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
    if (PQstatus(get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(get()));
    PQsetNoticeProcessor(
        get(), [](void*, const char*) {}, nullptr);
  }

  /// One statement or several.
  void execute(const std::string& sql) { run(sql); }

  /// The first column of every row, as text.
  std::vector<std::string> query_column(const std::string& sql) {
    const Result result = run(sql);
    std::vector<std::string> values;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
      values.emplace_back(PQgetvalue(result.get(), row, 0));
    }
    return values;
  }

  /// The first column of the first row, as text; empty where there is none.
  std::string query(const std::string& sql) {
    const auto values = query_column(sql);
    return values.empty() ? "" : values.front();
  }

  [[nodiscard]] PGconn* get() const { return connection_.get(); }
  /// The process of the server's that serves this.
  [[nodiscard]] int backend_pid() const { return PQbackendPID(get()); }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
    void operator()(PGresult* result) const { PQclear(result); }
  };
  using Result = std::unique_ptr<PGresult, Finish>;

  Result run(const std::string& sql) {
    Result result(PQexec(get(), sql.c_str()));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      throw std::runtime_error(PQerrorMessage(get()));
    }
    return result;
  }

  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace dbcache::test
