// How an acquire comes to its cluster: join, wait, check or create.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using rows::EntryOrigin;
using rows::Holder;
using test::all_of;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Turn = AcquireStep::Turn;

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
  EXPECT_EQ(step.turn, Turn::create);
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
  EXPECT_EQ(step.turn, Turn::wait_for_creator);
  EXPECT_EQ(step.awaited, creator.holder);
  EXPECT_EQ(step.creation, creation.number);
  EXPECT_EQ(step.since, at("10:30"));
  EXPECT_THAT(step.events, IsEmpty());
}

TEST_F(Acquiring, AnotherConfigurationWaitsForNobody) {
  acquire("hash");
  EXPECT_EQ(acquire("other").turn, Turn::create);
}

// ---- Joining

TEST_F(Acquiring, WhatIsReadyIsJoinedAndAccessed) {
  created();
  const Acquire command = acquirer();
  const Step step = acquire(command);
  EXPECT_EQ(step.turn, Turn::granted);
  EXPECT_EQ(step.cluster_id, "c-1");
  EXPECT_EQ(told(step.events),
            told({LeaseGranted{"hash", "c-1", command.holder, HandBackPolicy::keep, std::nullopt,
                               now, false, workspace, std::nullopt, 2},
                  ClusterAccessed{"c-1", now, 3}}));
}

TEST_F(Acquiring, WhatNobodyHoldsIsJoinedUncheckedByWhoCannotCheck) {
  end(created());
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::granted);
  EXPECT_EQ(entry().usage_count, 1);
}

TEST_F(Acquiring, FencingTokensGrowForAConfiguration) {
  const Held first = created();
  const Held second = joined();
  end(first);
  const Held third = joined();
  EXPECT_LT(first.lease, second.lease);
  EXPECT_LT(second.lease, third.lease);
}

// ---- Checking

TEST_F(Acquiring, WhatNobodyHoldsIsCheckedBeforeItIsJoined) {
  end(created());
  const Acquire command = checking();
  const Step step = acquire(command);
  EXPECT_EQ(step.turn, Turn::check);
  EXPECT_EQ(step.cluster_id, "c-1");
  EXPECT_EQ(told(step.events), told({CheckStarted{"hash", "c-1", command.holder}}));
}

TEST_F(Acquiring, WhatSomeoneHoldsIsJoinedUnchecked) {
  created();
  EXPECT_EQ(acquire(checking()).turn, Turn::granted);
}

TEST_F(Acquiring, WhatOnlyTheDeadHeldIsChecked) {
  kill(created().holder);
  EXPECT_EQ(acquire(checking()).turn, Turn::check);
  EXPECT_THAT(tables.leases(), IsEmpty());
}

TEST_F(Acquiring, OneChecksWhileTheOthersWait) {
  end(created());
  const Acquire checker = checking();
  acquire(checker);
  const Step step = acquire(checking());
  EXPECT_EQ(step.turn, Turn::wait_for_checker);
  EXPECT_EQ(step.awaited, checker.holder);
  EXPECT_THAT(step.events, IsEmpty());
}

TEST_F(Acquiring, WhatWasJustFoundRunningIsJoined) {
  end(created());
  Acquire command = checking();
  const Step check = acquire(command);
  commit(AnswerCheck{"hash", check.number, "c-1", CheckAnswer::alive, std::nullopt});
  command.checked = "c-1";
  EXPECT_EQ(acquire(command).turn, Turn::granted);
  EXPECT_EQ(share().check, std::nullopt);
}

TEST_F(Acquiring, ThatAnotherClusterWasFoundRunningSaysNothingOfThisOne) {
  end(created());
  Acquire command = checking();
  command.checked = "c-0";
  EXPECT_EQ(acquire(command).turn, Turn::check);
}

TEST_F(Acquiring, WhatADeadCheckerAskedIsAskedAnew) {
  end(created());
  const Acquire checker = checking();
  const Step first = acquire(checker);
  kill(checker.holder);
  const Step second = acquire(checking());
  EXPECT_EQ(second.turn, Turn::check);
  EXPECT_GT(second.number, first.number);
}

TEST_F(Acquiring, WhoeverCannotCheckJoinsWhileAnotherChecks) {
  end(created());
  acquire(checking());
  EXPECT_EQ(acquire().turn, Turn::granted);
}

TEST_F(Acquiring, WhatALeaseOfAnotherEntryHoldsIsJoinedUnchecked) {
  end(created());
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  acquire(fixed);
  EXPECT_EQ(acquire(checking()).turn, Turn::granted);
}

// ---- Taking over

TEST_F(Acquiring, WhoTakesOverFromADeadCreatorHasItsToken) {
  const Acquire dead = acquirer();
  const Step first = acquire(dead);
  kill(dead.holder);
  const Acquire successor = acquirer();
  const Step second = acquire(successor);
  EXPECT_EQ(second.turn, Turn::create);
  EXPECT_EQ(second.idempotency_token, first.idempotency_token);
  EXPECT_EQ(second.cluster_id, std::nullopt);
  EXPECT_GT(second.number, first.number);
  EXPECT_EQ(told(second.events), told({CreationStarted{"hash", successor.holder, "token-1",
                                                       std::nullopt, workspace, now, 1}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, WhoTakesOverHearsOfTheClusterThatWasStarted) {
  const Acquire dead = acquirer();
  commit(RecordStarted{"hash", acquire(dead).number, "c-started"});
  kill(dead.holder);
  const Step second = acquire();
  EXPECT_EQ(second.turn, Turn::create);
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
  commit(RecordStarted{"hash", acquire(dead).number, "c-started"});
  kill(dead.holder);
  tidy();
  ASSERT_THAT(owed(), ElementsAre("c-started"));
  ASSERT_EQ(entry().status, RegistryStatus::failed);

  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_EQ(step.cluster_id, "c-started");
  EXPECT_EQ(told({step.events.at(0)}),
            told({TerminationCancelled{"c-started", CancelReason::taken_over}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, ADebtByTokenAloneIsCancelledByATakeoverToo) {
  const Acquire failing = acquirer();
  commit(FailCreation{"hash", acquire(failing).number, "no quota"});
  ASSERT_THAT(owed(), ElementsAre("token-1"));
  EXPECT_EQ(acquire().idempotency_token, "token-1");
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, OnceItsTerminationBeganAnotherTokenIsTakenAndNothingIsWaitedFor) {
  const Acquire failing = acquirer();
  const Step first = acquire(failing);
  commit(RecordStarted{"hash", first.number, "c-started"});
  commit(FailCreation{"hash", first.number, "no quota"});
  ASSERT_EQ(claim().first->subject, "c-started");

  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-started"));
}

TEST_F(Acquiring, AfterAFailedTerminationAnotherTokenIsTakenToo) {
  commit(FailCreation{"hash", acquire().number, "no quota"});
  const auto [debt, termination] = claim();
  commit(FinishTermination{debt->subject, termination, "403"});
  EXPECT_EQ(acquire().idempotency_token, "token-2");
  EXPECT_THAT(owed(), ElementsAre("token-1"));
}

TEST_F(Acquiring, WhatWasSettledIsNotGoneOnWith) {
  const Step first = acquire();
  commit(RecordStarted{"hash", first.number, "c-started"});
  commit(FailCreation{"hash", first.number, "no quota"});
  const auto [debt, termination] = claim();
  commit(FinishTermination{debt->subject, termination, std::nullopt});
  const Step step = acquire();
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
}

TEST_F(Acquiring, WhatSomeoneSaidToBeTerminatedIsNotGoneOnWith) {
  const Step first = acquire();
  commit(RecordStarted{"hash", first.number, "c-started"});
  commit(FailCreation{"hash", first.number, "no quota"});
  commit(RemoveTerminated{"c-started"});
  ASSERT_THAT(owed(), IsEmpty());
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
}

TEST_F(Acquiring, ATakeoverGoesOnWithTokenAndStartedClusterWhileAnEarlierOneIsTerminated) {
  const Acquire dead = acquirer();
  const Step first = acquire(dead);
  commit(RecordStarted{"hash", first.number, "c-1"});
  commit(RecordStarted{"hash", first.number, "c-2"});
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
  commit(FailCreation{"hash", creation.number, "no quota"});
  const Step step = acquire(waiter);
  EXPECT_EQ(step.turn, Turn::creation_failed);
  EXPECT_EQ(step.error, "no quota");
  EXPECT_THAT(step.events, IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("token-1"));
}

TEST_F(Acquiring, TakesOverFromACreatorThatDiedWhateverWasAskedFor) {
  const Acquire creator = acquirer();
  acquire(creator);
  Acquire waiter = acquirer();
  waiter.fails_with = acquire(waiter).creation;
  kill(creator.holder);
  tidy();
  EXPECT_EQ(acquire(waiter).turn, Turn::create);
}

TEST_F(Acquiring, JoinsWhatAnotherCreatedAfterAllWhateverWasAskedFor) {
  const Step creation = acquire();
  Acquire waiter = acquirer();
  waiter.fails_with = acquire(waiter).creation;
  commit(FailCreation{"hash", creation.number, "no quota"});
  created();
  EXPECT_EQ(acquire(waiter).turn, Turn::granted);
}

// ---- Entries without a lease

class AcquiringWhatWasRegistered : public Acquiring {
 protected:
  AcquiringWhatWasRegistered() {
    commit(RegisterCreation{"hash", {4711, 99, "boot", "pid:[1]"}});
    // A registered worker has no lock: it is told by its process, 0 here.
    liveness.dead.clear();
  }
};

/// Judges those without a lock by one word.
class OneVerdict final : public Liveness {
 public:
  explicit OneVerdict(Verdict verdict) : verdict_(verdict) {}
  [[nodiscard]] Verdict probe(const Holder&) const override { return verdict_; }

 private:
  Verdict verdict_;
};

TEST_F(AcquiringWhatWasRegistered, WaitsForAWorkerThatLivesHoweverLong) {
  const OneVerdict alive(Liveness::Verdict::alive);
  const auto decision = decide(acquirer(), Present{tables, alive, at("23:00")});
  EXPECT_EQ(decision.result.turn, Turn::wait_for_creator);
  EXPECT_EQ(decision.result.awaited->process.pid, 4711);
  EXPECT_EQ(decision.result.since, at("10:30"));
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(AcquiringWhatWasRegistered, TakesOverAtOnceFromOneThatIsDead) {
  const OneVerdict dead(Liveness::Verdict::dead);
  const auto decision = decide(acquirer(), Present{tables, dead, now});
  EXPECT_EQ(decision.result.turn, Turn::create);
}

TEST_F(AcquiringWhatWasRegistered, WaitsThirtyMinutesForOneThatCannotBeJudged) {
  now = at("10:59:59.999999");
  EXPECT_EQ(acquire().turn, Turn::wait_for_creator);
  now = at("11:00");
  EXPECT_EQ(acquire().turn, Turn::create);
}

TEST_F(AcquiringWhatWasRegistered, OwesNothingForWhatItTakesOver) {
  commit(ChangeStatus{"hash", RegistryStatus::creating, {"c-mine", std::nullopt}});
  now = at("11:00");
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(share().origin, EntryOrigin::acquired);
}

TEST_F(AcquiringWhatWasRegistered, TakesOverWhatFailed) {
  commit(ChangeStatus{"hash", RegistryStatus::failed, {std::nullopt, "quota"}});
  EXPECT_EQ(acquire().turn, Turn::create);
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  EXPECT_EQ(entry().error_message, std::nullopt);
}

TEST_F(AcquiringWhatWasRegistered, JoinsWhatIsReadyBesideTheDocumentedUse) {
  commit(ChangeStatus{"hash", RegistryStatus::ready, {"c-1", std::nullopt}});
  EXPECT_EQ(acquire().turn, Turn::granted);
  EXPECT_EQ(entry().usage_count, 2);
  EXPECT_EQ(usage_of(entry(), tables).documented, 1);
}

TEST_F(AcquiringWhatWasRegistered, NeverHandsBackWhatItDidNotCreate) {
  commit(ChangeStatus{"hash", RegistryStatus::ready, {"c-1", std::nullopt}});
  commit(DecrementUsage{"hash"});
  Acquire command = acquirer();
  command.policy = HandBackPolicy::hand_back;
  end(joined(command));
  EXPECT_EQ(entry().status, RegistryStatus::ready);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Acquiring, AnImportedEntryIsStaleThirtyMinutesAfterItsCreationTime) {
  RegistryEntry imported = test::entry_row(0, "hash");
  imported.creation_time = at("10:00:00.000001");
  append({EntryImported{imported, {}, {}}});
  const Step waiting = acquire();
  EXPECT_EQ(waiting.turn, Turn::wait_for_creator);
  EXPECT_EQ(waiting.awaited->process.pid, 4711);
  now = at("10:30:00.000001");
  EXPECT_EQ(acquire().turn, Turn::create);
}

TEST_F(Acquiring, AnImportedReadyEntryIsJoined) {
  append({EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  EXPECT_EQ(acquire().turn, Turn::granted);
  EXPECT_EQ(share().origin, EntryOrigin::documented);
}

// ---- Expiry

TEST_F(Acquiring, AnExpiredClusterThatNobodyHoldsIsOwedAndAnotherCreated) {
  end(created());
  now = at("11:30");
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

TEST_F(Acquiring, AnExpiredClusterIsJoinedUnderALiveLease) {
  created();
  now = at("12:00");
  EXPECT_EQ(acquire().turn, Turn::granted);
}

TEST_F(Acquiring, AnExpiredClusterIsJoinedUnderALiveLeaseOfAnotherEntry) {
  end(created());
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  acquire(fixed);
  now = at("12:00");
  EXPECT_EQ(acquire().turn, Turn::granted);
  EXPECT_TRUE(tables.cluster("c-1").has_value());
}

TEST_F(Acquiring, TheExpiredClusterOfADocumentedEntryGoesAndIsNotOwed) {
  append({ClusterCached{test::cluster_row(0, "c-1"), {}},
          EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  now = at("11:00");
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(all_of<ClusterExpired>(step.events).size(), 1u);
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

// ---- Marked by hand

TEST_F(Acquiring, WhatWasReadyAndIsMarkedFailedIsOwedAndAnotherCreated) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {std::nullopt, "broken"}});
  const Step step = acquire();
  EXPECT_EQ(step.turn, Turn::create);
  EXPECT_EQ(step.idempotency_token, "token-2");
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
}

// ---- DATABRICKS_CLUSTER_ID

class AcquiringAFixedCluster : public Acquiring {
 protected:
  Acquire fixed() {
    Acquire command = acquirer("cluster-id-c-9");
    command.fixed_cluster = "c-9";
    return command;
  }
};

TEST_F(AcquiringAFixedCluster, LeasesItUnderAnEntryOfItsOwnWithoutARowOfClusters) {
  const Step step = acquire(fixed());
  EXPECT_EQ(step.turn, Turn::granted);
  EXPECT_EQ(step.cluster_id, "c-9");
  const RegistryEntry made = entry("cluster-id-c-9");
  EXPECT_EQ(made.status, RegistryStatus::ready);
  EXPECT_EQ(made.cluster_id, "c-9");
  EXPECT_EQ(made.usage_count, 1);
  EXPECT_EQ(share("cluster-id-c-9").origin, EntryOrigin::environment);
  EXPECT_EQ(tables.cluster_count(), 0u);
}

TEST_F(AcquiringAFixedCluster, IsNeverChecked) {
  Acquire command = fixed();
  command.checks = true;
  EXPECT_EQ(acquire(command).turn, Turn::granted);
}

TEST_F(AcquiringAFixedCluster, IsSharedByMany) {
  acquire(fixed());
  acquire(fixed());
  EXPECT_EQ(entry("cluster-id-c-9").usage_count, 2);
  EXPECT_EQ(tables.leases().size(), 2u);
}

TEST_F(AcquiringAFixedCluster, IsNeverOwedAndItsEntryGoesWithItsLastLease) {
  const Held first = joined(fixed());
  Acquire command = fixed();
  command.policy = HandBackPolicy::hand_back;
  const Held second = joined(command);
  end(first);
  EXPECT_TRUE(tables.entry("cluster-id-c-9").has_value());
  end(second);
  EXPECT_EQ(tables.entry("cluster-id-c-9"), std::nullopt);
  EXPECT_EQ(tables.share("cluster-id-c-9"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AcquiringAFixedCluster, CancelsADebtOfThatCluster) {
  commit(RecordStarted{"gone", 1, "c-9"});
  ASSERT_THAT(owed(), ElementsAre("c-9"));
  acquire(fixed());
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AcquiringAFixedCluster, IsBusyWhileThatClusterIsTerminated) {
  append({TerminationOwed{"c-9", "c-9", {}, "gone", workspace, OwedReason::expired, now}});
  claim();
  EXPECT_THROW(acquire(fixed()), Busy);
}

}  // namespace
}  // namespace dbcache::commands
