// What the creator of a cluster may do, and what becomes of it when it fails, dies, or comes late.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using events::LeaseLost;  // and not the error
using rows::PendingTermination;
using test::all_of;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Next = AcquireStep::Next;

/// One who creates the cluster of "hash".
class Creating : public Leases {
 protected:
  const Acquire creator = acquirer();
  const std::int64_t creation = acquire(creator).number;

  CreatorOutcome start(const std::string& cluster_id) {
    return commit(RecordStarted{"hash", {creation}, cluster_id}).first.result;
  }
  Decision<CreatorOutcome> finish(const std::string& cluster_id) {
    return commit(ready(creator, creation, cluster_id)).first;
  }
  /// Another takes over from the creator, who does not notice.
  Acquire take_over() {
    kill(creator.holder);
    Acquire successor = acquirer();
    successor_creation = acquire(successor).number;
    return successor;
  }
  std::int64_t successor_creation = 0;

  [[nodiscard]] std::vector<PendingTermination> pending_terminations() const {
    return tables.pending_terminations();
  }
};

// ---- Started

TEST_F(Creating, WhatWasStartedIsRecordedWhileItStillStarts) {
  EXPECT_FALSE(start("c-1").stale);
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  EXPECT_EQ(entry().cluster_id, "c-1");
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_EQ(share().creation, creation);
}

TEST_F(Creating, ToRecordTheSameAgainHasNoEvent) {
  start("c-1");
  const auto [decision, first] = commit(RecordStarted{"hash", {creation}, "c-1"});
  EXPECT_FALSE(decision.result.stale);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(Creating, AnotherThatIsStartedMakesTheFirstOwed) {
  start("c-1");
  start("c-2");
  EXPECT_EQ(entry().cluster_id, "c-2");
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(pending_terminations()[0].reason, "superseded");
  EXPECT_EQ(pending_terminations()[0].idempotency_token,
            std::nullopt);  // which is the other one's by now
  EXPECT_EQ(pending_terminations()[0].host, workspace);
}

TEST_F(Creating, StartingAClusterThatIsOwedCancelsTheDebt) {
  start("c-1");
  start("c-2");
  start("c-1");
  EXPECT_THAT(owed(), ElementsAre("c-2"));
}

TEST_F(Creating, StartingAClusterWhoseTerminationBeganIsBusy) {
  start("c-1");
  start("c-2");
  claim();
  EXPECT_THROW(start("c-1"), Busy);
  EXPECT_EQ(entry().cluster_id, "c-2");
}

TEST_F(Creating, AStaleCreatorMayNotRecordAndItsClusterIsOwed) {
  take_over();
  EXPECT_TRUE(start("c-late").stale);
  EXPECT_EQ(entry().cluster_id, std::nullopt);
  ASSERT_THAT(owed(), ElementsAre("c-late"));
  EXPECT_EQ(pending_terminations()[0].reason, "superseded");
  EXPECT_EQ(pending_terminations()[0].host, workspace);
}

TEST_F(Creating, WhatAStaleCreatorStartedIsNotOwedWhereTheSuccessorNamesIt) {
  take_over();
  commit(RecordStarted{"hash", {successor_creation}, "c-same"});
  EXPECT_TRUE(start("c-same").stale);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, ACreatorWhoseEntryWasTakenAwayIsStaleAndItsClusterOwedOnTheSameHost) {
  commit(CleanUpEntry{"hash", HeldClusters::remove});
  EXPECT_TRUE(start("c-late").stale);
  EXPECT_THAT(owed(), UnorderedElementsAre("c-late", "token-1"));
  for (const PendingTermination& pending : pending_terminations())
    EXPECT_EQ(pending.host, workspace) << pending.subject;
}

// ---- Ready

TEST_F(Creating, ReadyRowAndGrantAreOneTransaction) {
  Acquire by = creator;
  FinishCreation command = ready(by, creation, "c-1");
  command.run = "nightly";
  command.policy = HandBackPolicy::hand_back;
  command.input.cluster_name = "name";
  const auto [decision, first] = commit(command);
  EXPECT_FALSE(decision.result.stale);
  CachedCluster row;
  row.cluster_id = "c-1";
  row.cluster_name = "name";
  row.created_at = row.last_accessed = now;
  row.expiry_time = now + std::chrono::hours{1};
  row.is_shared = true;
  EXPECT_EQ(told(decision.events),
            told({ClusterCached{row, {}},
                  RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::ready,
                                        "c-1", std::nullopt},
                  LeaseGranted{"hash", "c-1", creator.holder, HandBackPolicy::hand_back, "nightly",
                               now, true, workspace, creation, 1},
                  ClusterAccessed{"c-1", now, 2}}));
}

TEST_F(Creating, TheCreatorsUseBecomesItsLeases) {
  commit(IncrementUsage{"hash"});
  finish("c-1");
  const Usage usage = usage_of(entry(), tables);
  EXPECT_EQ(entry().usage_count, 2);
  EXPECT_EQ(usage.leases, 1);
  EXPECT_EQ(usage.creations, 0);
  EXPECT_EQ(usage.documented, 1);
}

TEST_F(Creating, ALeaseHasAHigherFencingTokenThanItsCreation) {
  finish("c-1");
  EXPECT_GT(newest_lease(), creation);
  EXPECT_TRUE(tables.leases().at(0).created_here);
}

TEST_F(Creating, WhatIsReadyIsActiveWhereNothingElseIs) {
  finish("c-1");
  EXPECT_TRUE(tables.cluster("c-1")->is_active);
  EXPECT_TRUE(tables.cluster("c-1")->is_shared);
}

TEST_F(Creating, WhatIsReadyIsNotActiveBesideAnActiveCluster) {
  append({ClusterCached{test::cluster_row(0, "active"), {}}});
  finish("c-1");
  EXPECT_FALSE(tables.cluster("c-1")->is_active);
  EXPECT_TRUE(tables.cluster("active")->is_active);
}

TEST_F(Creating, WhatIsReadyIsActiveBesideAnActiveRowThatExpired) {
  append({ClusterCached{test::expiring(test::cluster_row(0, "expired"), "10:30"), {}}});
  finish("c-1");
  EXPECT_TRUE(tables.cluster("c-1")->is_active);
  EXPECT_FALSE(tables.cluster("expired")->is_active);
}

TEST_F(Creating, TheActiveClusterStaysActiveWhenItIsTheOneThatIsReady) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}}});
  finish("c-1");
  EXPECT_TRUE(tables.cluster("c-1")->is_active);
}

TEST_F(Creating, AnotherThanTheOneStartedMakesThatOwed) {
  start("c-1");
  finish("c-2");
  EXPECT_EQ(entry().cluster_id, "c-2");
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(pending_terminations()[0].reason, "superseded");
}

TEST_F(Creating, AnotherThanTheOneADeadCreatorStartedMakesThatOwed) {
  start("c-1");
  const Acquire successor = take_over();
  commit(ready(successor, successor_creation, "c-2"));
  EXPECT_EQ(entry().cluster_id, "c-2");
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Creating, TheVeryOneThatWasStartedOwesNothing) {
  start("c-1");
  const Acquire successor = take_over();
  commit(ready(successor, successor_creation, "c-1"));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, ReadyingAClusterThatIsOwedCancelsTheDebt) {
  start("c-1");
  start("c-2");
  finish("c-1");
  EXPECT_THAT(owed(), ElementsAre("c-2"));
}

TEST_F(Creating, ReadyingAClusterWhoseTerminationBeganIsBusyUntilItIsSettled) {
  start("c-1");
  start("c-2");
  const auto [pending, termination] = claim();
  EXPECT_THROW(finish("c-1"), Busy);
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  commit(FinishTermination{pending->subject, {termination}, "403"});
  EXPECT_THROW(finish("c-1"), Busy);
  const auto again = claim();
  commit(FinishTermination{pending->subject, {again.second}, std::nullopt});
  EXPECT_FALSE(finish("c-1").result.stale);
}

TEST_F(Creating, AStaleCreatorsReadyIsRefusedAndItsClusterOwed) {
  take_over();
  const auto decision = finish("c-late");
  EXPECT_TRUE(decision.result.stale);
  EXPECT_EQ(told(decision.events), told({TerminationOwed{"c-late", "c-late", std::nullopt, "hash",
                                                         workspace, OwedReason::superseded, now}}));
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  EXPECT_EQ(tables.cluster("c-late"), std::nullopt);
}

TEST_F(Creating, AStaleCreatorsClusterIsNotOwedWhereAnEntryNamesIt) {
  const Acquire successor = take_over();
  commit(ready(successor, successor_creation, "c-1"));
  EXPECT_TRUE(finish("c-1").result.stale);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, AStaleCreatorsClusterIsNotOwedWhereAnotherCreationNamesIt) {
  take_over();
  commit(RecordStarted{"other", {acquire("other").number}, "c-1"});
  EXPECT_TRUE(finish("c-1").result.stale);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, AStaleCreatorsClusterIsNotOwedWhereALeaseNamesIt) {
  take_over();
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  acquire(fixed);
  EXPECT_TRUE(finish("c-1").result.stale);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, ACreatorThatWasTakenForDeadIsStaleEvenIfNobodyTookOver) {
  kill(creator.holder);
  tidy();
  EXPECT_TRUE(finish("c-late").result.stale);
  EXPECT_THAT(owed(), UnorderedElementsAre("c-late", "token-1"));
}

// ---- Failed

TEST_F(Creating, AFailureIsTheEntrysAndADebtByTokenAlone) {
  const Events events = commit(FailCreation{"hash", {creation}, "no quota"}).first.events;
  EXPECT_EQ(told(events),
            told({RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::failed,
                                        std::nullopt, "no quota"},
                  LeaseReleased{"hash", creation, std::nullopt, std::nullopt, 0},
                  TerminationOwed{"token-1", std::nullopt, "token-1", "hash", workspace,
                                  OwedReason::creation_failed, now}}));
  EXPECT_EQ(entry().usage_count, 0);
  EXPECT_EQ(share().creation, std::nullopt);
}

TEST_F(Creating, AFailureBeforeAnythingWasStartedOwesNothing) {
  FailCreation failed{"hash", {creation}, "no such node type"};
  failed.nothing_started = true;
  commit(failed);
  EXPECT_THAT(owed(), IsEmpty());
  const auto next = acquire();
  EXPECT_EQ(next.idempotency_token, "token-2");
  EXPECT_FALSE(next.continues_earlier);
}

TEST_F(Creating, AFailureAfterAStartIsADebtWhateverItsCreatorSays) {
  start("c-1");
  FailCreation failed{"hash", {creation}, "no such node type"};
  failed.nothing_started = true;
  commit(failed);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_TRUE(acquire().continues_earlier);
}

TEST_F(Creating, AFailureAfterAStartIsADebtByIdAndToken) {
  start("c-1");
  commit(FailCreation{"hash", {creation}, "no quota"});
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(pending_terminations()[0].cluster_id, "c-1");
  EXPECT_EQ(pending_terminations()[0].idempotency_token, "token-1");
  EXPECT_EQ(pending_terminations()[0].reason, "creation_failed");
}

TEST_F(Creating, AFailureOfAStaleCreatorIsNothing) {
  take_over();
  const Events events = commit(FailCreation{"hash", {creation}, "too late"}).first.events;
  EXPECT_THAT(events, IsEmpty());
  EXPECT_EQ(entry().status, RegistryStatus::creating);
}

TEST_F(Creating, AFailureDoesNotOweWhatAnotherEntryNames) {
  created("other", "c-1");
  start("c-1");
  commit(FailCreation{"hash", {creation}, "no"});
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Creating, AFailureOwesWhatALeaseFromTheEnvironmentHoldsAndThatIsSettledAfterIt) {
  start("c-1");
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  const Grant held = joined(fixed);
  commit(FailCreation{"hash", {creation}, "no"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(claim().first, std::nullopt);
  end(held);
  EXPECT_EQ(claim().first->subject, "c-1");
}

// ---- Died

TEST_F(Creating, DeathWithNobodyToTakeOverIsAFailureAndADebtByToken) {
  kill(creator.holder);
  const Events events = reap(present());
  EXPECT_EQ(told(events),
            told({LeaseLost{"hash", creation, std::nullopt, std::nullopt, LeaseLossReason::died, 0},
                  RegistryStatusChanged{
                      "hash", RegistryStatus::creating, RegistryStatus::failed, std::nullopt,
                      "the worker that created the cluster died (pid 1001 on ci-1)"},
                  TerminationOwed{"token-1", std::nullopt, "token-1", "hash", workspace,
                                  OwedReason::creator_died, now}}));
}

TEST_F(Creating, DeathAfterAStartIsADebtById) {
  start("c-1");
  kill(creator.holder);
  tidy();
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(pending_terminations()[0].reason, "creator_died");
  EXPECT_EQ(pending_terminations()[0].idempotency_token, "token-1");
}

TEST_F(Creating, DeathIsNoDebtWhereTheCallerTakesOver) {
  start("c-1");
  kill(creator.holder);
  const Events events = reap(present(), "hash");
  EXPECT_EQ(told(events),
            told({LeaseLost{"hash", creation, "c-1", std::nullopt, LeaseLossReason::died, 0}}));
}

TEST_F(Creating, ACreatorThatCannotBeJudgedIsDeadAfterThirtyMinutes) {
  liveness.unjudgeable.insert(creator.holder.lock);
  now = at("10:59:59.999999");
  EXPECT_THAT(reap(present()), IsEmpty());
  now = at("11:00");
  EXPECT_EQ(all_of<LeaseLost>(reap(present())).size(), 1u);
}

TEST_F(Creating, DocumentedUsesOutliveTheCreatorUntilSomeoneTakesOver) {
  commit(IncrementUsage{"hash"});
  kill(creator.holder);
  tidy();
  EXPECT_EQ(entry().usage_count, 1);
  EXPECT_EQ(usage_of(entry(), tables).documented, 1);
}

TEST_F(Creating, OthersRegisteringSeeAnEntryToJoin) {
  const auto [decision, first] = commit(RegisterCreation{"hash", {1, 1, "boot", "pid:[1]"}});
  EXPECT_FALSE(decision.result.created);
  EXPECT_TRUE(decision.result.joinable);
}

}  // namespace
}  // namespace dbcache::commands
