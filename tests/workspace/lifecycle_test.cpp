#include <functional>
#include <thread>

#include <dbcache/errors.hpp>

#include "workspace/cluster_spec.hpp"
#include "workspace_test.hpp"

// What each state of a cluster, each form of "gone", each refusal and each fault does to create,
// check and terminate.
namespace dbcache::workspace {
namespace {

using namespace databricks;
using namespace std::chrono_literals;
using boost::json::object;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LifecycleTest : public test::WorkspaceTest {
 protected:
  ClusterLease acquire(AcquireOptions options = {}) {
    options.timeout = 20s;
    options.policy = HandBackPolicy::hand_back;
    return SharedClusters(database()).acquire(config(), lifecycle_of(hasty()), options);
  }
  /// Ends the pending terminations as if they had waited for three minutes.
  SettleReport settle_later() {
    return SharedClusters(database()).settle([](const Termination& termination) {
      hasty().terminate(termination.owed, termination.now + 3min, {});
    });
  }
  static OwedTermination owed(const std::string& id) {
    OwedTermination owed;
    owed.cluster_id = id;
    owed.host = fake().host();
    return owed;
  }
  template <class Expected>
  void expect_failure(const std::string& text) {
    try {
      acquire();
      ADD_FAILURE() << "a cluster was created";
    } catch (const Expected& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
};

TEST_F(LifecycleTest, AClusterIsCreatedCheckedAndHandedBack) {
  ClusterLease lease = acquire();
  EXPECT_TRUE(lease.created_here());
  const auto running = clusters("RUNNING");
  ASSERT_THAT(running, SizeIs(1));
  EXPECT_EQ(text(running.front().at("cluster_id")), lease.cluster_id());
  const auto& tags = running.front().at("custom_tags").as_object();
  EXPECT_EQ(text(tags.at("dbcache-config")), lease.config_hash().substr(0, 32));
  EXPECT_THAT(text(tags.at("dbcache-token")), testing::StartsWith("dbcache-"));
  EXPECT_THAT(text(tags.at("dbcache-owner")), SizeIs(32));
  EXPECT_EQ(running.front().at("autotermination_minutes"), 60);
  EXPECT_TRUE(hasty().check(lease.cluster_id(), {}));
  EXPECT_TRUE(lease.release().settled);
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
  EXPECT_FALSE(hasty().check(lease.cluster_id(), {}));
}

// ---- States

TEST_F(LifecycleTest, AClusterThatStartsIsWaitedFor) {
  for (const char* const state : {"PENDING", "RESTARTING"}) {
    const std::string id = made({{"state", state}});
    const int asked = requests("/get");
    std::thread starter([&] {
      while (requests("/get") == asked) std::this_thread::yield();
      tell("/clusters/" + id, object{{"state", "RUNNING"}});
    });
    EXPECT_TRUE(hasty().check(id, Bounds{}.at_most(20s))) << state;
    starter.join();
  }
}

TEST_F(LifecycleTest, EachStateIsTerminated) {
  for (const char* const state : {"PENDING", "RUNNING", "RESTARTING", "RESIZING", "TERMINATING",
                                  "TERMINATED", "ERROR", "UNKNOWN"}) {
    const std::string id = made({{"state", state}});
    hasty().terminate(owed(id), Timestamp{}, {});
    const auto after = hasty().clusters().get(id, {});
    ASSERT_TRUE(after.has_value()) << state;
    EXPECT_THAT(std::string(to_string(after->state)),
                testing::AnyOf("TERMINATING", "TERMINATED", "ERROR"))
        << state;
  }
}

TEST_F(LifecycleTest, EachFormOfGoneIsGone) {
  for (const char* const form :
       {"does_not_exist", "not_found", "bare_not_found", "more_than_30_days"}) {
    set("gone_form", form);
    EXPECT_FALSE(hasty().check("no-such", {})) << form;
    EXPECT_NO_THROW(hasty().terminate(owed("no-such"), Timestamp{}, {})) << form;
    EXPECT_EQ(hasty().clusters().get("no-such", {}), std::nullopt) << form;
  }
}

TEST_F(LifecycleTest, ANotFoundOfWhatIsNoWorkspaceIsNotGone) {
  fault({{"times", -1}, {"status", 404}, {"body", "<html>nginx</html>"}});
  EXPECT_THROW(static_cast<void>(hasty().check("c-1", {})), WorkspaceUnavailable);
  EXPECT_THROW(hasty().terminate(owed("c-1"), Timestamp{}, {}), WorkspaceUnavailable);
}

TEST_F(LifecycleTest, WhatEndedAMonthAgoIsGone) {
  const std::string id = made({{"state", "RUNNING"}});
  hasty().terminate(owed(id), Timestamp{}, {});
  tell("/clock", object{{"advance_seconds", 31 * 86400}});
  EXPECT_EQ(hasty().clusters().get(id, {}), std::nullopt);
}

TEST_F(LifecycleTest, APermanentDeletionLeavesNothing) {
  const std::string id = made({{"state", "RUNNING"}});
  hasty({60, true}).terminate(owed(id), Timestamp{}, {});
  EXPECT_EQ(hasty().clusters().get(id, {}), std::nullopt);
}

TEST_F(LifecycleTest, TheWorkspaceChoosesVersionAndNodeType) {
  const ClusterConfig choosing(
      {{"spark_version", "auto:latest-lts"}, {"node_type_id", "auto:smallest"}});
  ClusterLease lease = SharedClusters(database()).acquire(choosing, lifecycle_of(hasty()));
  const auto cluster = clusters().at(0);
  EXPECT_EQ(cluster.at("spark_version"), "16.4.x-scala2.12");
  EXPECT_EQ(cluster.at("node_type_id"), "m5.large");
  const ScopedVariable host("DATABRICKS_HOST", fake().host());
  EXPECT_EQ(lease.config_hash(), config_hash(choosing));
  for (const ClusterConfig& wrong :
       {ClusterConfig({{"spark_version", "auto:newest"}}),
        ClusterConfig({{"spark_version", "15.4.x-scala2.12"}, {"node_type_id", "auto:largest"}})}) {
    EXPECT_THROW(SharedClusters(database()).acquire(wrong, lifecycle_of(hasty())),
                 InvalidClusterConfig);
  }
  EXPECT_THAT(clusters(), SizeIs(1));
}

// ---- Starts that fail

TEST_F(LifecycleTest, AFailedStartSaysWhyAndLeavesNothing) {
  set("start_failure", object{{"code", "SELF_BOOTSTRAP_FAILURE"},
                              {"type", "CLOUD_FAILURE"},
                              {"parameters", object{{"instance_id", "i-1"}}}});
  expect_failure<ClusterFailed>("SELF_BOOTSTRAP_FAILURE (CLOUD_FAILURE): instance_id: i-1");
  EXPECT_THAT(settle_later().failed, IsEmpty());
  EXPECT_THAT(SharedClusters(database()).owed(), IsEmpty());
  // The next one is another cluster.
  EXPECT_NO_THROW(acquire());
  EXPECT_THAT(clusters(), SizeIs(2));
}

TEST_F(LifecycleTest, AStartForWhichThereIsNoQuotaOrNoMachineSaysSo) {
  set("start_failure", object{{"code", "AZURE_QUOTA_EXCEEDED"}, {"type", "CLIENT_ERROR"}});
  expect_failure<QuotaExceeded>("AZURE_QUOTA_EXCEEDED");
  set("start_failure", object{{"code", "CLOUD_PROVIDER_RESOURCE_STOCKOUT"}});
  expect_failure<CapacityUnavailable>("CLOUD_PROVIDER_RESOURCE_STOCKOUT");
}

TEST_F(LifecycleTest, ARefusedCreationSaysWhy) {
  set("quota", 0);
  expect_failure<QuotaExceeded>("The quota of 0 clusters is used up");
  set("quota", nullptr);
  fault({{"path", "/create"}, {"status", 403}, {"body", object{{"message", "not allowed"}}}});
  expect_failure<PermissionDenied>("not allowed");
  fault({{"path", "/create"}, {"status", 401}});
  expect_failure<NotAuthenticated>("does not accept the credentials");
  fault({{"path", "/create"}, {"status", 400}, {"body", "INVALID_PARAMETER_VALUE: bad"}});
  expect_failure<InvalidClusterConfig>("INVALID_PARAMETER_VALUE: bad (HTTP 400)");
  EXPECT_THAT(clusters(), IsEmpty());
  EXPECT_THAT(SharedClusters(database()).owed(), IsEmpty());
}

TEST_F(LifecycleTest, ARefusalAfterALostRequestLeavesATokenThatIsOwed) {
  fault({{"path", "/create"}, {"status", 503}, {"when", "after"}});
  fault({{"path", "/create"}, {"status", 400}, {"body", "BAD: no"}});
  set("token_mode", "ignored");
  set("list_lag_seconds", 2.0);  // longer than a lost request is looked for
  expect_failure<InvalidClusterConfig>("BAD: no");
  ASSERT_THAT(SharedClusters(database()).owed(), SizeIs(1));
  tell("/clock", object{{"advance_seconds", 3}});
  EXPECT_THAT(settle_later().failed, IsEmpty());
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(LifecycleTest, WhoWaitsForARefusedCreationFailsWithIt) {
  fault({{"path", "/create"}, {"kind", "hang"}, {"seconds", 1}});
  fault({{"path", "/create"}, {"status", 400}, {"times", -1}, {"body", "BAD: no such version"}});
  std::thread other([this] {
    try {
      acquire();
      ADD_FAILURE() << "a cluster was created";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("no such version"));
    }
  });
  expect_failure<Error>("no such version");
  other.join();
}

// ---- Faults

struct Fault {
  const char* name;
  object given;
  bool may_be_done;
};

std::vector<Fault> faults() {
  const object text{{"error_code", "TEMPORARILY_UNAVAILABLE"}, {"message", "later"}};
  return {
      {"503 before", {{"status", 503}, {"body", text}}, false},
      {"503 after", {{"status", 503}, {"when", "after"}}, true},
      {"502 html", {{"status", 502}, {"body", "<html><pre>bad gateway</pre></html>"}}, false},
      {"500 after", {{"status", 500}, {"when", "after"}, {"body", text}}, true},
      {"504 empty", {{"status", 504}}, false},
      {"429", {{"status", 429}, {"body", object{{"error_code", "REQUEST_LIMIT_EXCEEDED"}}}}, false},
      {"429 with Retry-After", {{"status", 429}, {"headers", object{{"Retry-After", "1"}}}}, false},
      {"400 of a worker environment",
       {{"status", 400}, {"body", object{{"message", "Unknown worker environment 7"}}}},
       false},
      {"cut", {{"kind", "cut"}, {"when", "after"}}, true},
      {"closed before", {{"kind", "close"}}, false},
      {"closed after", {{"kind", "close"}, {"when", "after"}}, true},
      {"no JSON", {{"kind", "garbage"}, {"when", "after"}}, true},
  };
}

TEST_F(LifecycleTest, NoFaultMakesASecondCluster) {
  for (const char* const mode : {"honoured", "ignored"}) {
    for (const Fault& one : faults()) {
      SCOPED_TRACE(std::string(one.name) + ", token " + mode);
      tell("/reset", object{});
      set("token_mode", mode);
      set("start_seconds", 0.02);
      set("list_lag_seconds", 0.1);
      object given = one.given;
      given["path"] = "/create";
      given["times"] = 2;
      fault(given);
      ClusterLease lease = acquire();
      EXPECT_THAT(clusters("RUNNING"), SizeIs(1));
      EXPECT_THAT(clusters(), SizeIs(1));
      EXPECT_TRUE(lease.release().settled);
      EXPECT_THAT(clusters("RUNNING"), IsEmpty());
    }
  }
}

TEST_F(LifecycleTest, ClusterThatTheListShowsTooLateIsOwed) {
  set("token_mode", "ignored");
  set("list_lag_seconds", 1.0);  // longer than a lost request is looked for
  set("start_seconds", 2.0);
  fault({{"path", "/create"}, {"status", 503}, {"when", "after"}});
  ClusterLease lease = acquire();
  EXPECT_TRUE(lease.release().settled);
  EXPECT_THAT(settle_later().failed, IsEmpty());
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
  EXPECT_THAT(clusters("PENDING"), IsEmpty());
  EXPECT_THAT(clusters(), SizeIs(2));
}

TEST_F(LifecycleTest, NoFaultOfGetOrListEndsACreation) {
  for (const char* const path : {"/get", "/list"}) {
    for (const Fault& one : faults()) {
      SCOPED_TRACE(std::string(one.name) + " of " + path);
      tell("/reset", object{});
      set("start_seconds", 0.02);
      object given = one.given;
      given["path"] = path;
      fault(given);
      EXPECT_TRUE(acquire().release().settled);
      EXPECT_THAT(clusters(), SizeIs(1));
    }
  }
}

TEST_F(LifecycleTest, NoFaultEndsACheckOrATermination) {
  for (const char* const path : {"/get", "/delete"}) {
    for (const Fault& one : faults()) {
      SCOPED_TRACE(std::string(one.name) + " of " + path);
      tell("/reset", object{});
      const std::string id = made({});
      object given = one.given;
      given["path"] = path;
      fault(given);
      EXPECT_TRUE(hasty().check(id, {}));
      fault(given);
      hasty().terminate(owed(id), Timestamp{}, {});
      EXPECT_THAT(clusters("RUNNING"), IsEmpty());
    }
  }
}

TEST_F(LifecycleTest, AWorkspaceThatIsAwayIsNeitherGoneNorDead) {
  const std::string id = made({});
  for (const int status : {401, 403, 429, 500, 503}) {
    SCOPED_TRACE(status);
    fake().ask("DELETE", "/faults");
    fault({{"times", -1}, {"status", status}});
    Bounds bounds;
    bounds.patience = 200ms;
    EXPECT_THROW(static_cast<void>(hasty().check(id, bounds)), WorkspaceError);
    EXPECT_THROW(hasty().terminate(owed(id), Timestamp{}, bounds), WorkspaceError);
  }
  EXPECT_THAT(clusters("RUNNING"), SizeIs(1));
}

TEST_F(LifecycleTest, ARedirectIsNotFollowed) {
  fault({{"kind", "redirect"},
         {"times", -1},
         {"headers", object{{"Location", fake().host() + "/login.html"}}}});
  EXPECT_THROW(static_cast<void>(hasty().check("c-1", {})), WorkspaceUnavailable);
  EXPECT_EQ(requests("/login.html"), 0);
}

// ---- Tokens and tags

TEST_F(LifecycleTest, ListsWithEmptyPagesAreReadToTheirEnd) {
  set("page_size", 2);
  set("empty_pages", true);
  for (int count = 0; count < 7; ++count) made({});
  EXPECT_THAT(hasty().clusters().list({ClusterState::running}, {}), SizeIs(7));
  EXPECT_THAT(hasty().clusters().list({ClusterState::pending}, {}), IsEmpty());
}

TEST_F(LifecycleTest, AnAnswerOfNothingIsNoListWithoutClusters) {
  made({});
  fault({{"path", "/list"}, {"kind", "empty"}});
  EXPECT_THAT(hasty().clusters().list({}, {}), SizeIs(1));
}

TEST_F(LifecycleTest, TagsAreFoundAsAzureGivesThemBack) {
  set("azure_tags", true);
  set("token_mode", "ignored");
  fault({{"path", "/create"}, {"status", 503}, {"when", "after"}});
  EXPECT_TRUE(acquire().release().settled);
  EXPECT_THAT(clusters(), SizeIs(1));
}

TEST_F(LifecycleTest, AClusterIsKnownToGetOnlyAfterAWhile) {
  set("get_lag_seconds", 0.3);
  EXPECT_TRUE(acquire().release().settled);
  EXPECT_THAT(clusters(), SizeIs(1));
}

TEST_F(LifecycleTest, ATokenAloneTerminatesAllThatBearItsTag) {
  const object tags{{"custom_tags", object{{"dbcache-token", "t-1"}}}};
  made(tags);
  made(tags);
  const std::string other = made({{"custom_tags", object{{"dbcache-token", "t-2"}}}});
  OwedTermination owed;
  owed.idempotency_token = "t-1";
  owed.host = fake().host();
  hasty().terminate(owed, Timestamp{}, {});
  ASSERT_THAT(clusters("RUNNING"), SizeIs(1));
  EXPECT_EQ(text(clusters("RUNNING").front().at("cluster_id")), other);
}

TEST_F(LifecycleTest, AClusterThatNoFilterNamesIsFoundByItsTag) {
  for (const char* const state : {"UNKNOWN", "HIBERNATING"}) {
    SCOPED_TRACE(state);
    std::string id;
    ClusterLifecycle dying = lifecycle_of(hasty());
    dying.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
      const object tags{{"dbcache-token", creation.idempotency_token()}};
      id = made({{"custom_tags", tags}, {"state", state}});
      throw Error("killed");
    };
    EXPECT_THROW(SharedClusters(database()).acquire(config(), dying), Error);
    AcquireOptions options;
    options.on_wait = [&](const WaitProgress&) {
      tell("/clusters/" + id, object{{"state", "RUNNING"}});
    };
    EXPECT_EQ(acquire(options).cluster_id(), id);

    const object tags{{"dbcache-token", state}};
    id = made({{"custom_tags", tags}, {"state", state}});
    OwedTermination owed;
    owed.idempotency_token = state;
    hasty().terminate(owed, Timestamp{} + 3min, {});
    EXPECT_NE(hasty().clusters().get(id, {})->state, ClusterState::unknown);
  }
}

TEST_F(LifecycleTest, ATokenWithoutAClusterStaysOwedWhileOneMayAppear) {
  OwedTermination owed;
  owed.idempotency_token = "t-1";
  owed.host = fake().host();
  EXPECT_THROW(hasty().terminate(owed, Timestamp{} + 119s, {}), WorkspaceUnavailable);
  EXPECT_NO_THROW(hasty().terminate(owed, Timestamp{} + 120s, {}));
}

TEST_F(LifecycleTest, WhatADeadCreatorStartedIsTakenOn) {
  // A creator that fails right after it has asked, as one that dies: its cluster is found by its
  // tag.
  set("start_seconds", 1.0);
  ClusterLifecycle dying = lifecycle_of(hasty());
  dying.create = [](const ClusterConfig& wanted, Creation& creation) -> std::string {
    const object spec = cluster_spec(
        wanted, {creation.idempotency_token(), creation.config_hash(), creation.owner()}, 60);
    static_cast<void>(
        hasty().clusters().api().try_once("POST", "/api/2.1/clusters/create", &spec, {}));
    throw Error("killed");
  };
  EXPECT_THROW(SharedClusters(database()).acquire(config(), dying), Error);
  EXPECT_THAT(clusters(), SizeIs(1));
  EXPECT_TRUE(acquire().release().settled);
  EXPECT_THAT(clusters(), SizeIs(1));
  EXPECT_THAT(SharedClusters(database()).owed(), IsEmpty());
}

TEST_F(LifecycleTest, OfTwoWithTheTagTheOlderIsKeptAndTheOtherOwed) {
  ClusterLifecycle twice = lifecycle_of(hasty());
  std::string older;
  twice.create = [&](const ClusterConfig& wanted, Creation& creation) {
    const object tags{{"dbcache-token", creation.idempotency_token()}};
    made({{"custom_tags", tags}, {"start_time", 2'000}});
    older = made({{"custom_tags", tags}, {"start_time", 1'000}});
    return hasty().create(wanted, creation);
  };
  AcquireOptions keep;
  ClusterLease lease = SharedClusters(database()).acquire(config(), twice, keep);
  EXPECT_EQ(lease.cluster_id(), older);
  EXPECT_THAT(settle_later().failed, IsEmpty());
  ASSERT_THAT(clusters("RUNNING"), SizeIs(1));
  EXPECT_EQ(text(clusters("RUNNING").front().at("cluster_id")), older);
}

// ---- Waiting

TEST_F(LifecycleTest, ALoneWorkerDoesNotAskAgainAndAgain) {
  ClusterLifecycle lifecycle = lifecycle_of(hasty());
  lifecycle.check_counts_for = 30s;
  SharedClusters shared(database());
  for (int count = 0; count < 5; ++count) {
    ClusterLease lease = shared.acquire(config(), lifecycle);
    lease.release();
  }
  const int asked = requests("/get");
  for (int count = 0; count < 5; ++count) shared.acquire(config(), lifecycle).release();
  EXPECT_EQ(requests("/get"), asked);
}

TEST_F(LifecycleTest, AStopEndsAnyWaitWithinASecond) {
  set("start_seconds", 1e6);
  std::stop_source stop;
  AcquireOptions options;
  options.stop = stop.get_token();
  int told = 0;
  options.on_wait = [&](const WaitProgress& progress) {
    EXPECT_EQ(progress.waits_for, WaitProgress::For::cluster);
    if (progress.doing.starts_with("Finding instances") && ++told == 1) stop.request_stop();
  };
  try {
    acquire(options);
    ADD_FAILURE() << "a cluster was created";
  } catch (const Cancelled& error) {
    EXPECT_THAT(error.what(), HasSubstr("`dbcache cleanup --workspace` terminates it"));
  }
  EXPECT_EQ(told, 1);
  EXPECT_THAT(settle_later().failed, IsEmpty());
  EXPECT_THAT(clusters("PENDING"), IsEmpty());
}

TEST_F(LifecycleTest, AStopEndsARequestThatHangs) {
  fault({{"path", "/get"}, {"kind", "hang"}, {"times", -1}});
  std::stop_source stop;
  Bounds bounds;
  bounds.stop = stop.get_token();
  bounds.tick = [&] { stop.request_stop(); };
  EXPECT_THROW(static_cast<void>(hasty().check("c-1", bounds)), Cancelled);
  EXPECT_THROW(static_cast<void>(hasty().check("c-1", Bounds{}.at_most(300ms))), Timeout);
}

TEST_F(LifecycleTest, TheWorkspaceMayBeKilledMeanwhile) {
  set("start_seconds", 1.5);
  std::thread killer([] {
    while (clusters().empty()) std::this_thread::yield();
    fake().kill();
    fake().start();
  });
  ClusterLease lease = acquire();
  killer.join();
  EXPECT_TRUE(lease.release().settled);
  EXPECT_THAT(clusters(), SizeIs(1));
}

}  // namespace
}  // namespace dbcache::workspace
