// How an acquire comes to its cluster: join, wait, check or create.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using rows::EntryOrigin;
using test::all_of;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::IsEmpty;
using Next = AcquireStep::Next;

class Acquiring : public Leases {
 protected:
  Acquire checking(const std::string& hash = "hash") {
    Acquire command = acquirer(hash);
    command.checks = true;
    return command;
  }
};

// ---- Creating

TEST_F(Acquiring, WhatNobodyHasMakesTheCallerTheCreator) {
  const Acquire command = acquirer();
  const Step step = acquire(command);
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_EQ(
      told(step.events),
      told({CreationStarted{"hash", command.holder, "token-1", std::nullopt, workspace, now, 1}}));
}

TEST_F(Acquiring, ToCreateIsAUseOfTheEntryThatIsBeingCreated) {
  const Acquire command = acquirer();
  acquire(command);
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  EXPECT_EQ(entry().usage_count, 1);
  EXPECT_EQ(entry().worker_pid, command.holder.process.pid);
  EXPECT_EQ(usage_of(entry(), tables).creations, 1);
}

TEST_F(Acquiring, WhatAnotherCreatesIsWaitedForWithoutAnEvent) {
  const Acquire creator = acquirer();
  const Step creation = acquire(creator);
  now = at("10:31");
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::wait_for_creator);
  EXPECT_EQ(step.awaited, creator.holder);
  EXPECT_EQ(step.creation, creation.number);
  EXPECT_EQ(step.since, at("10:30"));
  EXPECT_THAT(step.events, IsEmpty());
}

TEST_F(Acquiring, AnotherConfigurationWaitsForNobody) {
  acquire("hash");
  EXPECT_EQ(acquire("other").next, Next::create);
}

// ---- Joining

TEST_F(Acquiring, WhatIsReadyIsJoinedAndAccessed) {
  created();
  const Acquire command = acquirer();
  const Step step = acquire(command);
  EXPECT_EQ(step.next, Next::granted);
  EXPECT_EQ(step.cluster_id, "c-1");
  EXPECT_EQ(told(step.events),
            told({LeaseGranted{"hash", "c-1", command.holder, HandBackPolicy::keep, std::nullopt,
                               now, false, workspace, std::nullopt, 2},
                  ClusterAccessed{"c-1", now, 3}}));
}

TEST_F(Acquiring, WhatNobodyHoldsIsJoinedUncheckedByWhoCannotCheck) {
  end(created());
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::granted);
  EXPECT_EQ(entry().usage_count, 1);
}

TEST_F(Acquiring, FencingTokensGrowForAConfiguration) {
  const Grant first = created();
  const Grant second = joined();
  end(first);
  const Grant third = joined();
  EXPECT_LT(first.lease, second.lease);
  EXPECT_LT(second.lease, third.lease);
}

// ---- Checking

TEST_F(Acquiring, WhatNobodyHoldsIsCheckedBeforeItIsJoined) {
  end(created());
  const Acquire command = checking();
  const Step step = acquire(command);
  EXPECT_EQ(step.next, Next::check);
  EXPECT_EQ(step.cluster_id, "c-1");
  EXPECT_EQ(told(step.events), told({CheckStarted{"hash", "c-1", command.holder}}));
}

TEST_F(Acquiring, WhatSomeoneHoldsIsJoinedUnchecked) {
  created();
  EXPECT_EQ(acquire(checking()).next, Next::granted);
}

TEST_F(Acquiring, WhatOnlyTheDeadHeldIsChecked) {
  kill(created().holder);
  EXPECT_EQ(acquire(checking()).next, Next::check);
  EXPECT_THAT(tables.leases(), IsEmpty());
}

TEST_F(Acquiring, OneChecksWhileTheOthersWait) {
  end(created());
  const Acquire checker = checking();
  acquire(checker);
  const Step step = acquire(checking());
  EXPECT_EQ(step.next, Next::wait_for_checker);
  EXPECT_EQ(step.awaited, checker.holder);
  EXPECT_THAT(step.events, IsEmpty());
}

TEST_F(Acquiring, WhatWasJustFoundRunningIsJoined) {
  end(created());
  Acquire command = checking();
  const Step check = acquire(command);
  commit(AnswerCheck{"hash", {check.number}, "c-1", CheckAnswer::alive, std::nullopt});
  command.checked = "c-1";
  EXPECT_EQ(acquire(command).next, Next::granted);
  EXPECT_EQ(share().check, std::nullopt);
}

TEST_F(Acquiring, ThatAnotherClusterWasFoundRunningSaysNothingOfThisOne) {
  end(created());
  Acquire command = checking();
  command.checked = "c-0";
  EXPECT_EQ(acquire(command).next, Next::check);
}

TEST_F(Acquiring, WhatADeadCheckerAskedIsAskedAnew) {
  end(created());
  const Acquire checker = checking();
  const Step first = acquire(checker);
  kill(checker.holder);
  const Step second = acquire(checking());
  EXPECT_EQ(second.next, Next::check);
  EXPECT_GT(second.number, first.number);
}

TEST_F(Acquiring, WhoeverCannotCheckJoinsWhileAnotherChecks) {
  end(created());
  acquire(checking());
  EXPECT_EQ(acquire().next, Next::granted);
}

TEST_F(Acquiring, WhatALeaseOfAnotherEntryHoldsIsJoinedUnchecked) {
  end(created());
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  acquire(fixed);
  EXPECT_EQ(acquire(checking()).next, Next::granted);
}

// ---- Taking over

TEST_F(Acquiring, WhoTakesOverFromADeadCreatorHasItsToken) {
  const Acquire dead = acquirer();
  const Step first = acquire(dead);
  kill(dead.holder);
  const Acquire successor = acquirer();
  const Step second = acquire(successor);
  EXPECT_EQ(second.next, Next::create);
  EXPECT_EQ(second.idempotency_token, first.idempotency_token);
  EXPECT_EQ(second.cluster_id, std::nullopt);
  EXPECT_GT(second.number, first.number);
  EXPECT_EQ(told(second.events), told({CreationStarted{"hash", successor.holder, "token-1",
                                                       std::nullopt, workspace, now, 1}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, WhoTakesOverHearsOfTheClusterThatWasStarted) {
  const Acquire dead = acquirer();
  commit(RecordStarted{"hash", {acquire(dead).number}, "c-started"});
  kill(dead.holder);
  const Step second = acquire();
  EXPECT_EQ(second.next, Next::create);
  EXPECT_EQ(second.cluster_id, "c-started");
  EXPECT_EQ(entry().cluster_id, "c-started");
  EXPECT_EQ(second.idempotency_token, "token-1");
}

TEST_F(Acquiring, TheTokenStaysTheSameOverManyTakeovers) {
  for (int creator = 0; creator < 4; ++creator) {
    const Acquire command = acquirer();
    EXPECT_EQ(acquire(command).idempotency_token, "token-1");
    kill(command.holder);
  }
}

TEST_F(Acquiring, ADebtOfWhatADeadCreatorLeftIsCancelledByWhoTakesOverLater) {
  const Acquire dead = acquirer();
  commit(RecordStarted{"hash", {acquire(dead).number}, "c-started"});
  kill(dead.holder);
  tidy();
  ASSERT_THAT(owed(), ElementsAre("c-started"));
  ASSERT_EQ(entry().status, RegistryStatus::failed);

  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_EQ(step.cluster_id, "c-started");
  EXPECT_EQ(told({step.events.at(0)}),
            told({TerminationCancelled{"c-started", CancelReason::taken_over}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, ADebtByTokenAloneIsCancelledByATakeoverToo) {
  const Acquire failing = acquirer();
  commit(FailCreation{"hash", {acquire(failing).number}, "no quota"});
  ASSERT_THAT(owed(), ElementsAre("token-1"));
  EXPECT_EQ(acquire().idempotency_token, "token-1");
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, OnceItsTerminationBeganAnotherTokenIsTakenAndNothingIsWaitedFor) {
  const Acquire failing = acquirer();
  const Step first = acquire(failing);
  commit(RecordStarted{"hash", {first.number}, "c-started"});
  commit(FailCreation{"hash", {first.number}, "no quota"});
  ASSERT_EQ(claim().first->subject, "c-started");

  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-started"));
}

TEST_F(Acquiring, AfterAFailedTerminationAnotherTokenIsTakenToo) {
  commit(FailCreation{"hash", {acquire().number}, "no quota"});
  const auto [pending, termination] = claim();
  commit(FinishTermination{pending->subject, {termination}, "403"});
  EXPECT_EQ(acquire().idempotency_token, "token-2");
  EXPECT_THAT(owed(), ElementsAre("token-1"));
}

TEST_F(Acquiring, WhatWasSettledIsNotGoneOnWith) {
  const Step first = acquire();
  commit(RecordStarted{"hash", {first.number}, "c-started"});
  commit(FailCreation{"hash", {first.number}, "no quota"});
  const auto [pending, termination] = claim();
  commit(FinishTermination{pending->subject, {termination}, std::nullopt});
  const Step step = acquire();
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
}

TEST_F(Acquiring, WhatSomeoneSaidToBeTerminatedIsNotGoneOnWith) {
  const Step first = acquire();
  commit(RecordStarted{"hash", {first.number}, "c-started"});
  commit(FailCreation{"hash", {first.number}, "no quota"});
  commit(RemoveTerminated{"c-started"});
  ASSERT_THAT(owed(), IsEmpty());
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
}

TEST_F(Acquiring, ATakeoverGoesOnWithTokenAndStartedClusterWhileAnEarlierOneIsTerminated) {
  const Acquire dead = acquirer();
  const Step first = acquire(dead);
  commit(RecordStarted{"hash", {first.number}, "c-1"});
  commit(RecordStarted{"hash", {first.number}, "c-2"});
  ASSERT_EQ(claim().first->subject, "c-1");
  kill(dead.holder);
  const Step step = acquire();
  EXPECT_EQ(step.cluster_id, "c-2");
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_EQ(entry().cluster_id, "c-2");
}

TEST_F(Acquiring, ATakeoverDropsDocumentedUses) {
  const Acquire dead = acquirer();
  acquire(dead);
  commit(IncrementUsage{"hash"});
  commit(IncrementUsage{"hash"});
  kill(dead.holder);
  acquire();
  EXPECT_EQ(entry().usage_count, 1);
  EXPECT_EQ(usage_of(entry(), tables).documented, 0);
}

TEST_F(Acquiring, FailsWithTheCreatorsMessageWhereThatWasAskedFor) {
  const Step creation = acquire();
  Acquire waiter = acquirer();
  waiter.fails_with = acquire(waiter).creation;
  commit(FailCreation{"hash", {creation.number}, "no quota"});
  const Step step = acquire(waiter);
  EXPECT_EQ(step.next, Next::creation_failed);
  EXPECT_EQ(step.error, "no quota");
  EXPECT_THAT(step.events, IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("token-1"));
}

TEST_F(Acquiring, FailsWithACreatorThatNoOtherTryCanHelp) {
  const Step creation = acquire();
  Acquire waiter = acquirer();
  waiter.waited_for = acquire(waiter).creation;
  FailCreation failed{"hash", {creation.number}, "no such node type"};
  failed.for_good = true;
  commit(failed);
  EXPECT_TRUE(share().failed_for_good);
  const Step step = acquire(waiter);
  EXPECT_EQ(step.next, Next::creation_failed);
  EXPECT_EQ(step.error, "no such node type");
  // Whatever was wrong, a person may have mended it since.
  EXPECT_EQ(acquire().next, Next::create);
  EXPECT_FALSE(share().failed_for_good);
}

TEST_F(Acquiring, TakesOverFromACreatorThatAnotherTryMayHelp) {
  const Step creation = acquire();
  Acquire waiter = acquirer();
  waiter.waited_for = acquire(waiter).creation;
  commit(FailCreation{"hash", {creation.number}, "no machines just now"});
  EXPECT_EQ(acquire(waiter).next, Next::create);
}

TEST_F(Acquiring, TakesOverFromACreatorThatDiedWhateverWasAskedFor) {
  const Acquire creator = acquirer();
  acquire(creator);
  Acquire waiter = acquirer();
  waiter.fails_with = acquire(waiter).creation;
  kill(creator.holder);
  tidy();
  EXPECT_EQ(acquire(waiter).next, Next::create);
}

TEST_F(Acquiring, JoinsWhatAnotherCreatedAfterAllWhateverWasAskedFor) {
  const Step creation = acquire();
  Acquire waiter = acquirer();
  waiter.fails_with = acquire(waiter).creation;
  commit(FailCreation{"hash", {creation.number}, "no quota"});
  created();
  EXPECT_EQ(acquire(waiter).next, Next::granted);
}

// ---- Imported entries

TEST_F(Acquiring, AnImportedEntryIsStaleThirtyMinutesAfterItsCreationTime) {
  RegistryEntry imported = test::entry_row(0, "hash");
  imported.creation_time = at("10:00:00.000001");
  append({EntryImported{imported, {}, {}}});
  const Step waiting = acquire();
  EXPECT_EQ(waiting.next, Next::wait_for_creator);
  EXPECT_EQ(waiting.awaited->process.pid, 4711);
  now = at("10:30:00.000001");
  EXPECT_EQ(acquire().next, Next::create);
}

TEST_F(Acquiring, AnImportedReadyEntryIsJoined) {
  append({EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  EXPECT_EQ(acquire().next, Next::granted);
  EXPECT_EQ(share().origin, EntryOrigin::documented);
}

// ---- Expiry

TEST_F(Acquiring, AnExpiredClusterThatNobodyHoldsIsOwedAndAnotherCreated) {
  end(created());
  now = at("11:30");
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

TEST_F(Acquiring, AnExpiredClusterIsJoinedUnderALiveLease) {
  created();
  now = at("12:00");
  EXPECT_EQ(acquire().next, Next::granted);
}

TEST_F(Acquiring, AnExpiredClusterIsJoinedUnderALiveLeaseOfAnotherEntry) {
  end(created());
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  acquire(fixed);
  now = at("12:00");
  EXPECT_EQ(acquire().next, Next::granted);
  EXPECT_TRUE(tables.cluster("c-1").has_value());
}

TEST_F(Acquiring, TheExpiredClusterOfADocumentedEntryGoesAndIsNotOwed) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}},
          EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  now = at("11:00");
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(all_of<ClusterExpired>(step.events).size(), 1u);
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

// ---- Marked by hand

TEST_F(Acquiring, WhatWasReadyAndIsMarkedFailedIsOwedAndAnotherCreated) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {std::nullopt, "broken"}});
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

}  // namespace
}  // namespace dbcache::commands
