#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <dbcache/options.hpp>

#include "support/postgres_fixture.hpp"
#include "support/raw_database.hpp"
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

  // What befalls databases while processes hold something in them.

  /// As `git clean` in a workspace, or DROP SCHEMA.
  void wipe() const {
    if (schema_) return schema_->execute("DROP SCHEMA \"" + schema_->name() + "\" CASCADE");
    for (const auto& file : std::filesystem::directory_iterator(directory_.path())) {
      std::filesystem::remove_all(file);
    }
  }
  /// Takes away the events behind one, as a backup made then does when it is restored, or a
  /// failover to a standby that had no more. The tables are to be rebuilt after it.
  void lose_events_after(std::int64_t position) const {
    const std::string behind = " FROM events WHERE position > " + std::to_string(position);
    if (schema_) {
      schema_->execute(
          "ALTER TABLE events DISABLE TRIGGER ALL; DELETE" + behind +
          "; ALTER TABLE events ENABLE TRIGGER ALL; SELECT setval('event_positions', " +
          std::to_string(position) + ")");
      return;
    }
    const TemporaryDirectory elsewhere;
    run_sql(directory_.database(), "VACUUM INTO '" + elsewhere.database() + "'");
    drop_triggers(elsewhere.database());
    run_sql(elsewhere.database(), "DELETE" + behind);
    wipe();
    std::filesystem::copy_file(elsewhere.database(), directory_.database());
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
