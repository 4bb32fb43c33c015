#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <dbcache/options.hpp>

#include "support/postgres_fixture.hpp"
#include "support/temporary_directory.hpp"

// Tests that are not about one engine's own ways run over each: ctest runs them once more with
// DBCACHE_TEST_ENGINE=postgres in the environment (dbcache_add_tests_over_postgres).
namespace dbcache::test {

inline bool over_postgres() {
  const char* const engine = std::getenv("DBCACHE_TEST_ENGINE");
  return engine != nullptr && std::string_view(engine) == "postgres";
}

/// An empty place for the database of one test, gone with this.
class TestDatabase {
 public:
  TestDatabase() {
    if (over_postgres()) schema_.emplace();
  }

  /// These, over this database.
  [[nodiscard]] Options options(Options options = {}) const {
    options.database = location();
    options.schema = schema();
    return options;
  }
  /// As in Options::database.
  [[nodiscard]] std::string location() const {
    return schema_ ? schema_->url() : directory_.database();
  }
  /// As in Options::schema.
  [[nodiscard]] std::string schema() const { return schema_ ? schema_->name() : ""; }
  [[nodiscard]] bool exists() const {
    return schema_ ? schema_->exists() : std::filesystem::exists(directory_.database());
  }

  /// Where SQLite's files are, for tests that are about these.
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  std::optional<PostgresSchema> schema_;
};

/// Names the sessions that this process and its children begin from now on.
inline void name_sessions(const std::string& name) { ::setenv("PGAPPNAME", name.c_str(), 1); }

/// A server learns of its client's death a moment later, and until then the dead seem to live.
/// Comes back once no session of that name is left; at once on SQLite, where the kernel lets go of
/// locks before a death can be seen.
inline void await_end_of_sessions(const std::string& name) {
  if (over_postgres()) await_end_of_postgres_sessions(name);
}

}  // namespace dbcache::test
