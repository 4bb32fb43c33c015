#include <array>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include <dbcache/dbcache.hpp>

#include "support/manual_clock.hpp"
#include "support/temporary_directory.hpp"

// The independent checker and the library look at the same databases.
namespace dbcache {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Verdict {
  std::string output;
  int status = 0;
};

Verdict check(const std::string& arguments) {
  const std::string command = std::string(PYTHON " " CHECKER " ") + arguments + " 2>&1";
  Verdict verdict;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  std::array<char, 4096> buffer{};
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    verdict.output.append(buffer.data(), size);
  }
  verdict.status = ::pclose(pipe);
  return verdict;
}

class LogFormat : public ::testing::Test {
 protected:
  LogFormat() {
    Options options;
    options.database = directory_.database();
    options.clock = clock_.clock();
    options.label = "tests/größe.py::test \"π\"\n";
    manager_.emplace(options);
    fill();
  }

  /// Every operation that appends events, with ids that need quoting.
  void fill() {
    manager_->register_shared_cluster_creation("hash-1", 4711);
    manager_->increment_shared_cluster_usage("hash-1");
    manager_->cache_new_cluster("cluster \"ä\"\n", {{"num_workers", 2}, {"nested", {{"π", 3.14}}}});
    manager_->update_shared_cluster_status("hash-1", RegistryStatus::ready,
                                           {.cluster_id = "cluster \"ä\"\n"});
    manager_->cache_new_cluster("cluster-2", {{"is_shared", true}});
    manager_->update_cluster_access("cluster-2");
    manager_->decrement_shared_cluster_usage("hash-1");
    clock_.advance(std::chrono::hours(2));
    manager_->cleanup_expired_clusters();
    manager_->cache_new_cluster("cluster-2");
    manager_->cache_new_cluster("cluster-3");
    manager_->remove_terminated_cluster("cluster-3");
    manager_->register_shared_cluster_creation("hash-2", 1);
    manager_->update_shared_cluster_status("hash-2", RegistryStatus::failed,
                                           {.error_message = "no quota"});
    manager_->cleanup_shared_cluster_registry("hash-1");
  }

  void tamper(const char* sql) {
    SQLite::Database database(directory_.database(), SQLite::OPEN_READWRITE);
    database.exec("DROP TRIGGER events_refuse_update; DROP TRIGGER events_refuse_delete;");
    database.exec(sql);
  }

  test::TemporaryDirectory directory_;
  test::ManualClock clock_;
  std::optional<CacheManager> manager_;
};

TEST_F(LogFormat, CheckerAndLibraryComputeTheSameHead) {
  const LogHead head = manager_->verify().head;
  const Verdict verdict = check(directory_.database());
  EXPECT_EQ(verdict.status, 0) << verdict.output;
  EXPECT_THAT(verdict.output, HasSubstr(std::to_string(head.events) + ":" + head.hash));
}

TEST_F(LogFormat, CheckerTakesAHeadThatTheLibraryPrintedEarlier) {
  const LogHead head = manager_->verify().head;
  manager_->update_cluster_access("cluster-2");
  const std::string kept = std::to_string(head.events) + ":" + head.hash;
  EXPECT_EQ(check(directory_.database() + " --head " + kept).status, 0);
}

TEST_F(LogFormat, CheckerAndLibraryBothNameAnAlteredEvent) {
  tamper("UPDATE events SET payload = replace(payload, ':2', ':3') WHERE position = 2");
  const auto problems = manager_->verify().problems;
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems.front().position, 2);
  const Verdict verdict = check(directory_.database());
  EXPECT_NE(verdict.status, 0);
  EXPECT_THAT(verdict.output, HasSubstr("position 2, stream 'registry-hash-1'"));
}

TEST_F(LogFormat, CheckerMakesTheSameTablesOfTheEvents) {
  tamper("UPDATE clusters SET access_count = 9 WHERE cluster_id = 'cluster-2'");
  ASSERT_EQ(manager_->replay({.mode = ReplayMode::check}).differences.size(), 1u);
  EXPECT_THAT(check(directory_.database()).output, HasSubstr("access_count is 9"));
  manager_->replay();
  const Verdict verdict = check(directory_.database());
  EXPECT_EQ(verdict.status, 0) << verdict.output;
  EXPECT_THAT(verdict.output, Not(HasSubstr("access_count")));
}

}  // namespace
}  // namespace dbcache
