#include <array>
#include <cstdio>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include <dbcache/dbcache.hpp>

#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

// The independent checker and the library look at the same databases.
namespace dbcache {
namespace {

using ::testing::AllOf;
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
    manager_->cache_new_cluster("cluster-\\ä%", {{"num_workers", 2}, {"nested", {{"π", 3.14}}}});
    manager_->update_shared_cluster_status("hash-1", RegistryStatus::ready,
                                           {.cluster_id = "cluster-\\ä%"});
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
    lease();
  }

  /// The same for leases: a creation that fails and is taken over, one whose cluster is found dead,
  /// one that is replaced, deadlines, runs, and terminations that fail, succeed and are cancelled.
  void lease() {
    SharedClusters shared(*manager_);
    const ClusterConfig config{{"host", "https://example.test"},
                               {"cluster_name", "gr\u00f6\u00dfe"}};
    ClusterLifecycle lifecycle;
    lifecycle.create = [](const ClusterConfig&, Creation& creation) -> std::string {
      creation.started("started-\\\u00e4%");
      throw std::runtime_error("no quota\n");
    };
    AcquireOptions options;
    options.policy = HandBackPolicy::hand_back;
    options.run = "nightly \"gr\u00f6\u00dfe\"";
    EXPECT_THROW(shared.acquire(config, lifecycle, options), std::runtime_error);
    lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("leased-1"); };
    lifecycle.check = [](const std::string& id) { return id != "leased-1"; };
    RunMembership member = shared.join_run(*options.run, "worker", "gw0");
    {
      ClusterLease first = shared.acquire(config, lifecycle, options);
      ClusterLease second = shared.acquire(config, lifecycle, options);
      lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("leased-2"); };
      EXPECT_TRUE(second.report_dead());
    }
    shared.acquire(config, lifecycle, options).release();
    ClusterLease held = shared.acquire(config, lifecycle, options);
    held.note_use("a test");
    held.hold_for(std::chrono::minutes{5});
    shared.renew_lease(held.name(), std::chrono::minutes{9});
    clock_.advance(std::chrono::minutes{10});
    EXPECT_THAT(member.leave(), ::testing::ElementsAre("leased-2"));
    const auto fails = [](const Termination&) { throw std::runtime_error("403"); };
    EXPECT_EQ(shared.settle(fails).failed.size(),
              2u);  // the cluster that was started, and leased-2
    EXPECT_EQ(shared.settle([](const Termination&) {}).settled.size(), 2u);
    lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("leased-3"); };
    shared.acquire({{"num_workers", 1}}, lifecycle, options).release();
    manager_->cache_new_cluster("leased-3");
    lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("leased-4"); };
    kept_ = shared.acquire({{"num_workers", 2}}, lifecycle);
    kept_.note_use("a test");
    member_ = shared.join_run(*options.run);
    const test::ScopedVariable fixed("DATABRICKS_CLUSTER_ID", "fixed-\u00e4");
    fixed_ = shared.acquire({}, lifecycle);
  }

  void tamper(const char* sql) {
    SQLite::Database database(directory_.database(), SQLite::OPEN_READWRITE);
    database.exec(
        "DROP TRIGGER IF EXISTS events_refuse_update; DROP TRIGGER IF EXISTS events_refuse_delete");
    database.exec(sql);
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  test::ManualClock clock_;
  std::optional<CacheManager> manager_;
  ClusterLease kept_;
  ClusterLease fixed_;
  RunMembership member_;
};

TEST_F(LogFormat, CheckerAndLibraryComputeTheSameHead) {
  const LogHead head = manager_->verify().head;
  const Verdict verdict = check(directory_.database());
  EXPECT_EQ(verdict.status, 0) << verdict.output;
  EXPECT_THAT(verdict.output, HasSubstr(std::to_string(head.events) + ":" + head.hash));
}

TEST_F(LogFormat, TheLogThatIsCheckedHoldsEventsOfEveryKindButImportedRows) {
  std::set<std::string> types;
  for (const RecordedEvent& event : manager_->history()) types.insert(event.type);
  EXPECT_EQ(types.size(), 25u);
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

TEST_F(LogFormat, CheckerAndLibraryAllowGapsUpToWhereTheyMayBe) {
  // Both events of a stream that left no row.
  tamper("DELETE FROM events WHERE stream = 'cluster-cluster-3'");
  ASSERT_EQ(manager_->verify().problems.size(), 1u);
  EXPECT_THAT(check(directory_.database()).output, HasSubstr("follows position"));

  tamper("UPDATE log_state SET gaps_until = (SELECT max(position) FROM events)");

  EXPECT_TRUE(manager_->verify().ok());
  EXPECT_TRUE(manager_->replay({.mode = ReplayMode::check}).differences.empty());
  const Verdict verdict = check(directory_.database());
  EXPECT_EQ(verdict.status, 0) << verdict.output;
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

TEST_F(LogFormat, CheckerFindsWhatWasChangedInTheTablesOfLeases) {
  tamper("UPDATE leases SET policy = 'hand_back'");
  tamper("DELETE FROM participants");
  tamper(
      "INSERT INTO terminations (subject, config_hash, reason, owed_at, attempts) "
      "VALUES ('s', 'h', 'expired', '2026-01-15T10:30:00.000000', 0)");
  const auto differences = manager_->replay({.mode = ReplayMode::check}).differences;
  EXPECT_EQ(differences.size(), 4u);  // there are two leases
  EXPECT_THAT(check(directory_.database()).output,
              AllOf(HasSubstr("table leases, id"), HasSubstr("policy is 'hand_back'"),
                    HasSubstr("table participants, id"), HasSubstr("the row is missing"),
                    HasSubstr("table terminations, subject 's': the events make no such row")));
}

}  // namespace
}  // namespace dbcache
