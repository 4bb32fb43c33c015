#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/dbcache.hpp>

#include "support/errors.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/temporary_directory.hpp"

// What the roles in docs/operations.md may and may not do.
namespace dbcache {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class PostgresRoles : public ::testing::Test {
 protected:
  PostgresRoles() {
    server_.execute("CREATE ROLE owner LOGIN; CREATE ROLE writer LOGIN; CREATE ROLE reader LOGIN");
    server_.execute("CREATE DATABASE ci OWNER owner");
    manager("owner").create_database();
    const std::string roles = "psql --quiet '" + server_.url("ci", "owner") +
                              "' -v schema=dbcache -v writer=writer -v reader=reader -f '" +
                              DBCACHE_ROLES_SQL + "'";
    if (std::system(roles.c_str()) != 0) throw std::runtime_error("roles.sql failed");
  }

  CacheManager manager(const std::string& role) {
    return CacheManager({.database = server_.url("ci", role)});
  }
  /// The server's answer to a statement of a role.
  std::string answer(const std::string& role, const std::string& sql) {
    return test::error_of([&] {
      test::PostgresConnection(server_.url("ci", role))
          .execute("SET search_path = dbcache; " + sql);
      return 0;
    });
  }

  test::PostgresServer server_;
};

TEST_F(PostgresRoles, AWriterDoesAllOfItsWork) {
  CacheManager writer = manager("writer");
  writer.cache_new_cluster("c-1");
  writer.cache_new_cluster("c-2");
  EXPECT_TRUE(writer.register_shared_cluster_creation("h", 4711));
  EXPECT_EQ(writer.increment_shared_cluster_usage("h"), 2);
  SharedClusters clusters(writer);
  ClusterLease lease = clusters.acquire(
      {{"cluster_name", "t"}},
      {.create = [](const ClusterConfig&, Creation&) { return std::string("c-3"); }});
  EXPECT_EQ(lease.cluster_id(), "c-3");
  lease.release();
  EXPECT_TRUE(writer.remove_terminated_cluster("c-2"));
  writer.optimize_database();
  EXPECT_TRUE(writer.replay().rebuilt);
  EXPECT_TRUE(writer.verify().problems.empty());
}

TEST_F(PostgresRoles, AWriterCannotAlterTheLog) {
  manager("writer").cache_new_cluster("c-1");
  for (const char* const sql :
       {"UPDATE events SET payload = '{}'", "DELETE FROM events", "TRUNCATE events",
        "INSERT INTO events SELECT * FROM events ON CONFLICT (position) DO UPDATE SET payload = "
        "'{}'",
        "ALTER TABLE events DISABLE TRIGGER ALL", "DROP TABLE events",
        "SELECT setval('event_positions', 1)"}) {
    EXPECT_THAT(answer("writer", sql),
                ::testing::AnyOf(HasSubstr("permission denied"), HasSubstr("must be owner")))
        << sql;
  }
  EXPECT_TRUE(manager("writer").verify().problems.empty());
}

TEST_F(PostgresRoles, TheOwnerCannotAlterEventsByMistake) {
  manager("owner").cache_new_cluster("c-1");
  for (const char* const sql :
       {"UPDATE events SET payload = '{}'", "DELETE FROM events", "TRUNCATE events",
        "INSERT INTO events SELECT * FROM events ON CONFLICT (position) DO UPDATE SET payload = "
        "'{}'"}) {
    EXPECT_THAT(answer("owner", sql), HasSubstr("events are append-only")) << sql;
  }
}

TEST_F(PostgresRoles, AReaderCanOnlyRead) {
  manager("writer").cache_new_cluster("c-1");
  CacheManager reader = manager("reader");
  EXPECT_TRUE(reader.load_cluster_cache());
  EXPECT_EQ(reader.history({}).size(), 1U);
  EXPECT_TRUE(reader.verify().problems.empty());
  EXPECT_TRUE(reader.replay({.mode = ReplayMode::check}).differences.empty());
  EXPECT_THAT(test::error_of([&] {
                reader.cache_new_cluster("c-2");
                return 0;
              }),
              StartsWith("StorageFailure: the role lacks a privilege"));
}

TEST_F(PostgresRoles, AMoveThatTheRoleMayNotMakeLeavesTheLogOpen) {
  const test::TemporaryDirectory directory;
  const Options source{.database = directory.database()};
  CacheManager(source).cache_new_cluster("c-1");
  EXPECT_THAT(
      test::error_of([&] { return move_log(source, {.database = server_.url("ci", "writer")}); }),
      StartsWith("StorageFailure: the role lacks a privilege"));
  CacheManager(source).cache_new_cluster("c-2");
}

TEST_F(PostgresRoles, ARoleWithoutUsageGetsAnErrorAndNotAnEmptyDatabase) {
  manager("writer").cache_new_cluster("c-1");
  server_.execute("CREATE ROLE stranger LOGIN");
  EXPECT_THAT(test::error_of([&] { return manager("stranger").verify(); }),
              StartsWith("StorageFailure: the role lacks a privilege"));
}

TEST_F(PostgresRoles, ARoleThatMayNotCreateASchemaGetsAnError) {
  EXPECT_THAT(test::error_of([&] {
                CacheManager({.database = server_.url("ci", "writer"), .schema = "another"})
                    .cache_new_cluster("c");
                return 0;
              }),
              StartsWith("StorageFailure: the role lacks a privilege"));
}

}  // namespace
}  // namespace dbcache
