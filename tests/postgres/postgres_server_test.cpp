#include "support/postgres_server.hpp"

#include <poll.h>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include "support/child_process.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_fixture.hpp"

// The servers that tests on PostgreSQL rely on.
namespace dbcache::test {
namespace {

TEST(PostgresServer, ACommittedRowSurvivesAKill) {
  PostgresServer server;
  server.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)");

  server.kill();
  EXPECT_THROW(server.execute("SELECT 1"), std::runtime_error);
  server.start();

  EXPECT_EQ(server.query("SELECT n FROM kept"), "42");
}

TEST(PostgresServer, AKillEndsSessions) {
  PostgresServer server;
  PostgresConnection session(server.url());
  session.execute("CREATE TABLE kept (n int)");
  session.execute("BEGIN; INSERT INTO kept VALUES (42)");

  server.kill();
  server.restart();

  EXPECT_THROW(session.execute("COMMIT"), std::runtime_error);
  EXPECT_EQ(server.query("SELECT count(*) FROM kept"), "0");
}

TEST(PostgresServer, TheServerRestartsInOrder) {
  PostgresServer server;
  server.execute("CREATE TABLE kept (n int)");

  server.restart();

  EXPECT_EQ(server.query("SELECT count(*) FROM kept"), "0");
}

TEST(PostgresServer, CommitsAreSynced) {
  PostgresServer server;

  EXPECT_EQ(server.query("SHOW fsync"), "on");
  EXPECT_EQ(server.query("SHOW synchronous_commit"), "on");
}

TEST(PostgresServer, SettingsApply) {
  PostgresServer server({.more = {{"idle_session_timeout", "12s"}}});

  EXPECT_EQ(server.query("SHOW idle_session_timeout"), "12s");
}

TEST(PostgresServer, DatabasesAreSeparate) {
  PostgresServer server;
  PostgresConnection first(server.new_database());
  PostgresConnection second(server.new_database());

  first.execute("CREATE TABLE here (n int)");

  EXPECT_EQ(second.query("SELECT to_regclass('here') IS NULL"), "t");
  EXPECT_EQ(second.query("SHOW server_encoding"), "UTF8");
}

TEST(PostgresServer, TheServerEndsWithTheProcessThatMadeIt) {
  Pipe about_server;
  ChildProcess owner([&] {
    about_server.close_read();
    const PostgresServer server;
    about_server.put(server.pid());
    return ::pause();
  });
  about_server.close_write();
  pid_t server = 0;
  ASSERT_TRUE(about_server.get(server));
  const int watch = static_cast<int>(::syscall(SYS_pidfd_open, server, 0));

  owner.kill(SIGKILL);
  owner.wait();

  pollfd end{watch, POLLIN, 0};
  EXPECT_EQ(::poll(&end, 1, 60'000), 1);
  ::close(watch);
}

TEST(PostgresServer, TheNextProcessRemovesFilesThatWereLeft) {
  Pipe about_files;
  ChildProcess owner([&] {
    about_files.close_read();
    const ServerDirectory directory;
    const std::string path = directory.path().string();
    about_files.write(path.data(), path.size());
    about_files.close_write();
    return ::pause();
  });
  about_files.close_write();
  const std::filesystem::path files = about_files.read_to_end();

  ServerDirectory::remove_stale();
  EXPECT_TRUE(std::filesystem::exists(files));

  owner.kill(SIGKILL);
  owner.wait();
  // Another test may be looking at the same moment, and keep this one from it.
  poll_until(
      [&] {
        ServerDirectory::remove_stale();
        return !std::filesystem::exists(files);
      },
      "the files to be removed");
}

TEST(PostgresServer, AnOrdinaryUserCanRunTheServer) {
  PostgresServer server;

  EXPECT_EQ(in_child_as_ordinary_user([&] { return server.query("SELECT 'served'"); }), "served");
}

TEST(PostgresStandby, CommittedRowsSurviveThePrimary) {
  PostgresServer primary;
  primary.execute("CREATE TABLE kept (n int)");
  const auto standby = primary.make_standby();
  primary.execute("INSERT INTO kept VALUES (42)");

  primary.kill();
  standby->promote();

  EXPECT_EQ(standby->query("SELECT n FROM kept"), "42");
  standby->execute("INSERT INTO kept VALUES (43)");
}

TEST(PostgresStandby, CommitsWaitForTheStandby) {
  PostgresServer primary;
  primary.execute("CREATE TABLE kept (n int)");
  const auto standby = primary.make_standby();
  standby->stop();

  PostgresConnection session(primary.url());
  ASSERT_EQ(PQsendQuery(session.get(), "INSERT INTO kept VALUES (42)"), 1);
  poll_until(
      [&] {
        return primary.query("SELECT wait_event FROM pg_stat_activity WHERE pid = " +
                             std::to_string(session.backend_pid())) == "SyncRep";
      },
      "the commit's way to its wait");

  standby->start();
  PQclear(PQgetResult(session.get()));
  EXPECT_EQ(primary.query("SELECT n FROM kept"), "42");
}

TEST(SharedPostgres, SchemasAreSeparate) {
  const PostgresSchema first;
  const PostgresSchema second;
  EXPECT_FALSE(first.exists());

  PostgresConnection(first.url()).execute("CREATE SCHEMA " + first.name());

  EXPECT_TRUE(first.exists());
  EXPECT_FALSE(second.exists());
}

TEST(SharedPostgres, AllTestsOfARunShareOneServer) {
  const auto fixture = running_postgres_fixture();
  if (!fixture) GTEST_SKIP() << "only ctest starts it";

  EXPECT_EQ(shared_postgres_url(), fixture->url);
  EXPECT_EQ(PostgresConnection(fixture->url).query("SELECT 1"), "1");
}

}  // namespace
}  // namespace dbcache::test
