#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <unistd.h>

#include "support/program.hpp"

// ctest runs tests in many processes, and each would start a PostgreSQL server. Instead one serves
// the whole run of ctest: `postgres_fixture start` starts it before the first test that needs it,
// and `stop` stops it after the last.
namespace dbcache::test {

/// The variable that names the directory where runs of ctest leave word of their servers: a file
/// each, by the process id of ctest, so that several may use one build directory.
inline constexpr const char* postgres_fixture_variable = "DBCACHE_TEST_POSTGRES";

struct PostgresFixture {
  /// Of the server's database `postgres`.
  std::string url;
  /// The files of an empty cluster, for tests that need a server of their own.
  std::filesystem::path template_data;
  /// The process that stops the server when ctest is gone.
  pid_t keeper = -1;
};

/// The server of the ctest that runs this process, if one does.
std::optional<PostgresFixture> running_postgres_fixture();

std::optional<PostgresFixture> read_postgres_fixture(const std::filesystem::path& file);
void write_postgres_fixture(const std::filesystem::path& file, const PostgresFixture& fixture);

/// The url of a server that tests share: ctest's, or one of this process's own, started when first
/// asked for and stopped at exit. Whoever uses it keeps to a schema or database of its own.
std::string shared_postgres_url();

/// Comes back once the shared server has no session with this application_name any more.
void await_end_of_postgres_sessions(const std::string& name);

/// A name that no schema on the shared server has yet; dropped, if it was made, with what is in it.
class PostgresSchema {
 public:
  PostgresSchema();
  ~PostgresSchema();
  PostgresSchema(const PostgresSchema&) = delete;
  PostgresSchema& operator=(const PostgresSchema&) = delete;

  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// Runs a statement in it.
  void execute(const std::string& sql) const;
  /// Whether there is such a schema by now.
  [[nodiscard]] bool exists() const;

 private:
  std::string url_ = shared_postgres_url();
  std::string name_;
  pid_t owner_ = ::getpid();
};

}  // namespace dbcache::test
