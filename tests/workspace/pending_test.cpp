#include <string>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "workspace_test.hpp"

// Clusters whose terminations are pending, and that the workspace shows late, or others terminate.
namespace dbcache::workspace {
namespace {

using namespace databricks;
using namespace std::chrono_literals;
using boost::json::object;
using testing::Contains;
using testing::IsEmpty;
using testing::SizeIs;

class PendingTest : public test::WorkspaceTest {
 protected:
  ClusterLease acquire() {
    return SharedClusters(database()).acquire(config(), lifecycle_of(hasty()));
  }
  static OwedTermination debt_of(const std::string& id) {
    OwedTermination owed;
    owed.cluster_id = id;
    owed.host = fake().host();
    return owed;
  }
};

TEST_F(PendingTest, AClusterThatTheWorkspaceDoesNotShowYetStaysOwed) {
  set("get_lag_seconds", 60);
  const std::string id = made({});
  OwedTermination debt = debt_of(id);
  debt.reason = "creation_failed";
  EXPECT_THROW(hasty().terminate(debt, debt.owed_at, {}), WorkspaceUnavailable);
  debt.reason = "handed_back";  // somebody saw it run
  EXPECT_NO_THROW(hasty().terminate(debt, debt.owed_at, {}));
  set("get_lag_seconds", 0);
  debt.reason = "creation_failed";
  hasty().terminate(debt, debt.owed_at, {});
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(PendingTest, AnotherClusterOfTheCreationIsNotTheOneThatIsOwed) {
  const object tags{{"custom_tags", object{{"dbcache-token", "t-1"}}}};
  made(tags);
  OwedTermination debt = debt_of("0101-000000-late");
  debt.reason = "creator_died";
  debt.idempotency_token = "t-1";
  EXPECT_THROW(hasty().terminate(debt, debt.owed_at + 1s, {}), WorkspaceUnavailable);
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(PendingTest, AListThatLagsIsAskedAgain) {
  // The lag is less than the library takes for possible.
  set("list_lag_seconds", 0.2);
  const object tags{{"custom_tags", object{{"dbcache-token", "t-1"}}}};
  const std::string id = made(tags);
  made(tags);
  OwedTermination debt = debt_of(id);
  debt.reason = "creator_died";
  debt.idempotency_token = "t-1";
  hasty().terminate(debt, debt.owed_at, {});
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(PendingTest, AClusterOfNoKnownWorkspaceIsNotGoneBecauseThisOneLacksIt) {
  OwedTermination debt = debt_of("0101-000000-other");
  EXPECT_NO_THROW(hasty().terminate(debt, debt.owed_at, {}));
  debt.host.reset();
  EXPECT_THROW(hasty().terminate(debt, debt.owed_at + 1h, {}), WorkspaceUnavailable);
  debt.cluster_id = made({});
  EXPECT_NO_THROW(hasty().terminate(debt, debt.owed_at, {}));
  EXPECT_THAT(clusters("RUNNING"), IsEmpty());
}

TEST_F(PendingTest, AClusterThatOthersTerminateEndsNoCreation) {
  set("token_mode", "ignored");
  SharedClusters shared(database());
  ClusterLifecycle dying = lifecycle_of(hasty());
  std::string first;
  dying.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
    first = made({{"custom_tags", object{{"dbcache-token", creation.idempotency_token()}}}});
    const std::string second =
        made({{"custom_tags", object{{"dbcache-token", creation.idempotency_token()}}}});
    creation.started(first);
    creation.started(second);  // so that the first is owed
    throw Error("killed");
  };
  EXPECT_THROW(shared.acquire(config(), dying), Error);
  // While somebody terminates the first, another goes on with the creation.
  const SettleReport report = shared.settle([&](const Termination& termination) {
    if (termination.owed.cluster_id != first) throw Error("not now");
    EXPECT_NE(acquire().cluster_id(), first);
  });
  EXPECT_THAT(report.settled, Contains(first));
}

TEST_F(PendingTest, ReconcileLeavesWhatMayStillRun) {
  // A creator names two clusters and dies: the first is owed by its id and its token.
  SharedClusters shared(database());
  ClusterLifecycle dying = lifecycle_of(hasty());
  dying.host = fake().host();
  std::string mate;
  dying.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
    mate = made({{"custom_tags", object{{"dbcache-token", creation.idempotency_token()}}}});
    creation.started("0101-000000-late");
    throw Error("killed");
  };
  EXPECT_THROW(shared.acquire(config(), dying), Error);
  CacheManager manager(database());
  const Workspace workspace(fakes_own());
  ReconcileReport report = reconcile(manager, workspace);
  ASSERT_THAT(report.unknown, SizeIs(1));
  EXPECT_THAT(report.unknown.front().error, testing::HasSubstr("another cluster of its creation"));
  EXPECT_THAT(shared.owed(), SizeIs(1));
  tell("/clusters/" + mate, object{{"state", "TERMINATED"}});
  report = reconcile(manager, workspace);
  ASSERT_THAT(report.unknown, SizeIs(1));
  EXPECT_THAT(report.unknown.front().error, testing::HasSubstr("so new"));
  EXPECT_THAT(shared.owed(), SizeIs(1));
}

}  // namespace
}  // namespace dbcache::workspace
