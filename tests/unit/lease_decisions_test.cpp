// How leases end, are prolonged and lost, and what usage counts and runs make of it.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using events::LeaseLost;  // and not the error
using rows::Holder;
using test::all_of;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::IsEmpty;
using Turn = AcquireStep::Turn;

// ---- Ending

class EndingALease : public Leases {};

TEST_F(EndingALease, TellsTheCountAfterItAndThatItWasTheLast) {
  const Held held = created();
  const auto [decision, first] = commit(EndLease{held.lease});
  EXPECT_TRUE(decision.result.was_held);
  EXPECT_TRUE(decision.result.was_last);
  EXPECT_EQ(decision.result.usage_count, 0);
  EXPECT_EQ(decision.result.config_hash, "hash");
  EXPECT_EQ(decision.result.cluster_id, "c-1");
  EXPECT_EQ(told(decision.events),
            told({LeaseReleased{"hash", held.lease, "c-1", HandBackPolicy::keep, 0}}));
}

TEST_F(EndingALease, IsNotTheLastWhereAnotherIsHeld) {
  const Held first = created();
  joined();
  const LeaseEnded ended = end(first);
  EXPECT_FALSE(ended.was_last);
  EXPECT_EQ(ended.usage_count, 1);
}

TEST_F(EndingALease, IsTheLastWhereOnlyDocumentedUsesAreLeft) {
  const Held held = created();
  commit(IncrementUsage{"hash"});
  const LeaseEnded ended = end(held);
  EXPECT_TRUE(ended.was_last);
  EXPECT_EQ(ended.usage_count, 1);
}

TEST_F(EndingALease, TwiceIsOnce) {
  const Held held = created();
  end(held);
  const auto [decision, first] = commit(EndLease{held.lease});
  EXPECT_FALSE(decision.result.was_held);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(EndingALease, ThatWasTakenForDeadIsNothing) {
  const Held held = created();
  joined();
  kill(held.holder);
  tidy();
  EXPECT_FALSE(end(held).was_held);
}

TEST_F(EndingALease, KeepsTheClusterCachedByItsPolicy) {
  end(created(HandBackPolicy::keep));
  EXPECT_EQ(entry().status, RegistryStatus::ready);
  EXPECT_TRUE(tables.cluster("c-1").has_value());
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(EndingALease, HandsTheClusterBackByItsPolicyInOneTransaction) {
  const Held held = created(HandBackPolicy::hand_back);
  append(reap(present()));
  append(decide(EndLease{held.lease}, present()).events);
  EXPECT_EQ(told(hand_back(present())),
            told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace,
                                  OwedReason::handed_back, now},
                  ClusterRemoved{"c-1", ClusterRemovalReason::handed_back},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::handed_back}}));
}

TEST_F(EndingALease, TheLastOneDecidesAndNotTheCreators) {
  const Held first = created(HandBackPolicy::hand_back);
  const Held second = joined();
  end(first);
  end(second);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(EndingALease, TheLastOneDecidesToHandBackToo) {
  const Held first = created(HandBackPolicy::keep);
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  const Held second = joined(by);
  end(first);
  EXPECT_THAT(owed(), IsEmpty());
  end(second);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(EndingALease, ByDeathDecidesByItsPolicyToo) {
  kill(created(HandBackPolicy::hand_back).holder);
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
}

TEST_F(EndingALease, ByItsDeadlineDecidesByItsPolicyToo) {
  const Held held = created(HandBackPolicy::hand_back);
  commit(RenewLease{held.lease, at("10:40"), true});
  now = at("10:40");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(EndingALease, DoesNotHandBackWhatAnEntryOfTheEnvironmentStillHolds) {
  const Held held = created(HandBackPolicy::hand_back);
  Acquire by = acquirer("cluster-id-c-1");
  by.fixed_cluster = "c-1";
  const Held fixed = joined(by);
  end(held);
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_TRUE(tables.cluster("c-1").has_value());
  end(fixed);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

// ---- Reaping

class Reaping : public Leases {};

TEST_F(Reaping, FindsNothingWhereAllLive) {
  created();
  joined();
  acquire("other");
  EXPECT_THAT(reap(present()), IsEmpty());
  EXPECT_THAT(hand_back(present()), IsEmpty());
}

TEST_F(Reaping, TellsEachDeadLeaseAndTheCountsGoDownOneByOne) {
  const Held a = created();
  const Held b = joined();
  joined();
  kill(a.holder);
  kill(b.holder);
  EXPECT_EQ(
      told(reap(present())),
      told({LeaseLost{"hash", a.lease, "c-1", HandBackPolicy::keep, LeaseLossReason::died, 2},
            LeaseLost{"hash", b.lease, "c-1", HandBackPolicy::keep, LeaseLossReason::died, 1}}));
}

TEST_F(Reaping, LeavesDocumentedUses) {
  const Held held = created();
  commit(IncrementUsage{"hash"});
  kill(held.holder);
  tidy();
  EXPECT_EQ(entry().usage_count, 1);
  EXPECT_EQ(usage_of(entry(), tables).documented, 1);
}

TEST_F(Reaping, OfTheVeryMomentOfADeadline) {
  const Held held = created();
  commit(RenewLease{held.lease, at("10:40"), true});
  kill(held.holder);  // it outlives its process
  now = at("10:39:59.999999");
  EXPECT_THAT(reap(present()), IsEmpty());
  now = at("10:40");
  EXPECT_EQ(all_of<LeaseLost>(reap(present())).at(0).reason, LeaseLossReason::deadline);
}

TEST_F(Reaping, OfALeaseThatCannotBeJudgedThirtyMinutesAfterItsGrant) {
  const Held held = created();
  liveness.unjudgeable.insert(held.holder.lock);
  now = at("10:59:59.999999");
  EXPECT_THAT(reap(present()), IsEmpty());
  now = at("11:00");
  EXPECT_EQ(all_of<LeaseLost>(reap(present())).size(), 1u);
}

TEST_F(Reaping, OfADeadCheckerFreesTheCheck) {
  end(created());
  Acquire checker = acquirer();
  checker.checks = true;
  const std::int64_t check = acquire(checker).number;
  kill(checker.holder);
  EXPECT_EQ(told(reap(present())),
            told({CheckAnswered{"hash", "c-1", check, CheckAnswer::died, std::nullopt}}));
}

TEST_F(Reaping, OfADeadTerminatorIsAFailureThatKeepsTheDebt) {
  end(created(HandBackPolicy::hand_back));
  const auto [debt, termination] = claim();
  kill(last_terminator);
  tidy();
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.debt("c-1")->termination, std::nullopt);
  EXPECT_EQ(tables.debt("c-1")->attempts, 1);
  EXPECT_NE(tables.debt("c-1")->error.value().find("died"), std::string::npos);
}

TEST_F(Reaping, EveryoneAtOnce) {
  kill(created(HandBackPolicy::hand_back).holder);
  const Acquire creator = acquirer("other");
  commit(RecordStarted{"other", acquire(creator).number, "c-2"});
  kill(creator.holder);
  Holder member = someone();
  commit(JoinRun{"nightly", "worker", std::nullopt, member});
  kill(member);
  tidy();
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_THAT(tables.participants(), IsEmpty());
  EXPECT_THAT(owed(), testing::UnorderedElementsAre("c-1", "c-2"));
  EXPECT_THAT(reap(present()), IsEmpty());
  EXPECT_THAT(hand_back(present()), IsEmpty());
}

// ---- Renewing

class RenewingALease : public Leases {};

TEST_F(RenewingALease, MakesItHoldByADeadlineAndByNoLock) {
  const Held held = created();
  const Events events = commit(RenewLease{held.lease, at("12:30"), true}).first.events;
  EXPECT_EQ(told(events), told({LeaseRenewed{"hash", held.lease, at("12:30")}}));
  const Holder holder = tables.lease(held.lease)->holder;
  EXPECT_EQ(holder.until, at("12:30"));
  EXPECT_EQ(holder.lock_file, "");
  EXPECT_EQ(holder.lock, 0);
  EXPECT_EQ(holder.process, held.holder.process);
}

TEST_F(RenewingALease, MovesTheDeadline) {
  const Held held = created();
  commit(RenewLease{held.lease, at("10:40"), true});
  commit(RenewLease{held.lease, at("12:00"), false});
  now = at("11:30");
  EXPECT_THAT(reap(present()), IsEmpty());
}

TEST_F(RenewingALease, ThatAProcessHoldsIsRefused) {
  const Held held = created();
  EXPECT_THROW(commit(RenewLease{held.lease, at("12:00"), false}), InvalidArgument);
}

TEST_F(RenewingALease, ThatEndedIsNotFound) {
  const Held held = created();
  end(held);
  EXPECT_THROW(commit(RenewLease{held.lease, at("12:00"), false}), NotFound);
}

TEST_F(RenewingALease, WhoseDeadlinePassedIsNotFound) {
  const Held held = created();
  commit(RenewLease{held.lease, at("10:40"), true});
  now = at("10:40");
  EXPECT_THROW(commit(RenewLease{held.lease, at("12:00"), false}), NotFound);
}

TEST_F(RenewingALease, OfOnesOwnThatWasLostSaysSo) {
  const Held held = created();
  commit(BelieveDead{held.lease});
  EXPECT_THROW(commit(RenewLease{held.lease, at("12:00"), true}), dbcache::LeaseLost);
}

// ---- Who uses a cluster

class NotingAUse : public Leases {};

TEST_F(NotingAUse, NamesTheUserAndTheLease) {
  const Held held = created();
  const Events events = commit(NoteUse{held.lease, "test_1"}).first.events;
  EXPECT_EQ(told(events), told({ClusterUsed{"c-1", held.lease, "test_1"}}));
}

TEST_F(NotingAUse, UnderALeaseThatHasEndedIsRefused) {
  const Held held = created();
  commit(BelieveDead{held.lease});
  EXPECT_THROW(commit(NoteUse{held.lease, "test_1"}), dbcache::LeaseLost);
}

// ---- Checks by a holder, and dead clusters

class AClusterThatMayBeDead : public Leases {
 protected:
  const Held held = created(HandBackPolicy::hand_back);
  const Held other = joined();

  std::int64_t begin_check() {
    const auto [begun, first] = commit(BeginCheck{held.lease, held.holder});
    EXPECT_TRUE(begun.result.begun);
    return first;
  }
  Events answer(std::int64_t check, CheckAnswer said, const std::string& cluster_id = "c-1") {
    return commit(AnswerCheck{"hash", check, cluster_id, said, std::nullopt}).first.events;
  }
};

TEST_F(AClusterThatMayBeDead, IsCheckedByOneHolderWhileOthersWait) {
  begin_check();
  const auto [begun, first] = commit(BeginCheck{other.lease, other.holder});
  EXPECT_FALSE(begun.result.begun);
  EXPECT_FALSE(begun.result.lease_ended);
  EXPECT_EQ(begun.result.awaited, held.holder);
  EXPECT_THAT(begun.events, IsEmpty());
}

TEST_F(AClusterThatMayBeDead, AndIsGoesWithRowLeasesAndEntryAndIsNotOwed) {
  const std::int64_t check = begin_check();
  EXPECT_EQ(told(answer(check, CheckAnswer::dead)),
            told({CheckAnswered{"hash", "c-1", check, CheckAnswer::dead, std::nullopt},
                  LeaseLost{"hash", held.lease, "c-1", HandBackPolicy::hand_back,
                            LeaseLossReason::cluster_lost, 1},
                  LeaseLost{"hash", other.lease, "c-1", HandBackPolicy::keep,
                            LeaseLossReason::cluster_lost, 0},
                  ClusterRemoved{"c-1", ClusterRemovalReason::lost},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::lost}}));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(acquire().turn, Turn::create);
}

TEST_F(AClusterThatMayBeDead, AndIsNotStaysAsItWas) {
  const std::int64_t check = begin_check();
  answer(check, CheckAnswer::alive);
  EXPECT_EQ(share().check, std::nullopt);
  EXPECT_EQ(tables.leases().size(), 2u);
}

TEST_F(AClusterThatMayBeDead, StaysWhereTheCheckFailed) {
  answer(begin_check(), CheckAnswer::failed);
  EXPECT_EQ(share().check, std::nullopt);
  EXPECT_EQ(entry().status, RegistryStatus::ready);
}

TEST_F(AClusterThatMayBeDead, ANoOfAnEarlierCheckCountsForNothing) {
  const std::int64_t check = begin_check();
  kill(held.holder);
  tidy();  // the check is given up with its checker
  const auto [begun, second] = commit(BeginCheck{other.lease, other.holder});
  EXPECT_THAT(answer(check, CheckAnswer::dead), IsEmpty());
  EXPECT_EQ(share().check, second);
  EXPECT_EQ(entry().status, RegistryStatus::ready);
}

TEST_F(AClusterThatMayBeDead, ANoToAnEntryThatNamesAnotherClusterByNowOnlyEndsTheCheck) {
  const std::int64_t check = begin_check();
  append({RegistryStatusChanged{"hash", RegistryStatus::ready, RegistryStatus::ready, "c-2",
                                std::nullopt}});
  EXPECT_EQ(answer(check, CheckAnswer::dead).size(), 1u);
  EXPECT_EQ(entry().cluster_id, "c-2");
  EXPECT_EQ(tables.leases().size(), 2u);
}

TEST_F(AClusterThatMayBeDead, IsNotAskedForByALeaseThatEnded) {
  end(held);
  EXPECT_TRUE(commit(BeginCheck{held.lease, held.holder}).first.result.lease_ended);
}

TEST_F(AClusterThatMayBeDead, IsNotHandedBackWhileItIsChecked) {
  end(other);
  begin_check();
  end(held);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AClusterThatMayBeDead, IsBelievedToBeAndOwedWhereNobodyCanCheck) {
  const auto [decision, first] = commit(BelieveDead{held.lease});
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(all_of<LeaseLost>(decision.events).size(), 2u);
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.debt("c-1")->reason, "reported_dead");
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_EQ(acquire().turn, Turn::create);
}

TEST_F(AClusterThatMayBeDead, IsNotBelievedOfALeaseThatEnded) {
  end(held);
  EXPECT_FALSE(commit(BelieveDead{held.lease}).first.result);
  EXPECT_EQ(entry().status, RegistryStatus::ready);
}

TEST_F(AClusterThatMayBeDead, IsLostToTheLeasesOfEveryEntryAndOwedOnce) {
  Acquire by = acquirer("cluster-id-c-1");
  by.fixed_cluster = "c-1";
  commit(BelieveDead{joined(by).lease});
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_THAT(tables.entries(), IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Leases, ADocumentedClusterThatIsBelievedDeadIsNotOwed) {
  append({EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  commit(BelieveDead{joined().lease});
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

// ---- Expiry

class ExpiredClusters : public Leases {};

TEST_F(ExpiredClusters, AreOwedWithTheirEntriesWhenNobodyHoldsThem) {
  end(created());
  now = at("11:30");
  EXPECT_EQ(
      told(hand_back(present())),
      told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace, OwedReason::expired, now},
            ClusterExpired{"c-1", at("11:30")},
            RegistryEntryRemoved{"hash", EntryRemovalReason::expired}}));
}

TEST_F(ExpiredClusters, AreNeverTakenFromUnderALease) {
  created();
  now = at("20:00");
  tidy();
  EXPECT_EQ(entry().status, RegistryStatus::ready);
  EXPECT_TRUE(tables.cluster("c-1").has_value());
}

TEST_F(ExpiredClusters, AreOwedWhenTheirLastLeaseEndsWhateverItsPolicy) {
  const Held held = created(HandBackPolicy::keep);
  now = at("20:00");
  end(held);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(ExpiredClusters, AreOwedEvenIfTheirEntryWasMarkedFailed) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {}});
  now = at("11:30");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

// ---- Usage

class UsageCounts : public Leases {};

TEST_F(UsageCounts, AreLeasesAndDocumentedUses) {
  created();
  joined();
  commit(IncrementUsage{"hash"});
  EXPECT_EQ(entry().usage_count, 3);
  const Usage usage = usage_of(entry(), tables);
  EXPECT_EQ(usage.leases, 2);
  EXPECT_EQ(usage.documented, 1);
}

TEST_F(UsageCounts, OfLeasesAreNotTakenByDocumentedDecrements) {
  created();
  commit(IncrementUsage{"hash"});
  EXPECT_EQ(commit(DecrementUsage{"hash"}).first.result, 1);
  const auto [decision, first] = commit(DecrementUsage{"hash"});
  EXPECT_EQ(decision.result, 1);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(UsageCounts, OfACreationAreNotTakenByDocumentedDecrements) {
  acquire();
  EXPECT_THAT(commit(DecrementUsage{"hash"}).first.events, IsEmpty());
  EXPECT_EQ(entry().usage_count, 1);
}

TEST_F(UsageCounts, ThatAreDocumentedBlockHandBack) {
  const Held held = created(HandBackPolicy::hand_back);
  commit(IncrementUsage{"hash"});
  end(held);
  EXPECT_THAT(owed(), IsEmpty());
  commit(DecrementUsage{"hash"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(UsageCounts, ThatAreDocumentedBlockHandBackUntilTheExpiryOnly) {
  const Held held = created(HandBackPolicy::hand_back);
  commit(IncrementUsage{"hash"});
  end(held);
  now = at("11:30");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

// ---- Runs

class Runs : public Leases {
 protected:
  std::pair<Holder, std::int64_t> join(const std::string& run) {
    const Holder holder = someone();
    return {holder, commit(JoinRun{run, "worker", "gw0", holder}).second};
  }
  Held created_in(const std::string& run) {
    Acquire by = acquirer();
    by.policy = HandBackPolicy::hand_back;
    by.run = run;
    return created(by, "c-1");
  }
};

TEST_F(Runs, AreJoinedAndLeft) {
  const auto [holder, id] = join("nightly");
  ASSERT_EQ(tables.participants().size(), 1u);
  EXPECT_EQ(tables.participants()[0].id, id);
  EXPECT_EQ(tables.participants()[0].name, "gw0");
  const Events events = commit(LeaveRun{id}).first.events;
  EXPECT_EQ(told(events), told({RunLeft{"nightly", id, RunLeftReason::left}}));
  EXPECT_THAT(commit(LeaveRun{id}).first.events, IsEmpty());
}

TEST_F(Runs, KeepAClusterThatTheyUsedWhileAnyoneTakesPart) {
  const auto first = join("nightly");
  const auto second = join("nightly");
  end(created_in("nightly"));
  EXPECT_THAT(owed(), IsEmpty());
  commit(LeaveRun{first.second});
  EXPECT_THAT(owed(), IsEmpty());
  commit(LeaveRun{second.second});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Runs, KeepItWhoeverUsedItLast) {
  join("nightly");
  const Held held = created_in("nightly");
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  by.run = "other";
  const Held second = joined(by);
  end(held);
  end(second);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(Runs, ThatDidNotUseItKeepNothing) {
  join("other");
  end(created_in("nightly"));
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Runs, OfTheDeadKeepNothing) {
  const auto member = join("nightly");
  end(created_in("nightly"));
  kill(member.first);
  EXPECT_EQ(told(reap(present())), told({RunLeft{"nightly", member.second, RunLeftReason::died}}));
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Runs, DoNotKeepAClusterPastItsExpiry) {
  join("nightly");
  end(created_in("nightly"));
  now = at("11:30");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

}  // namespace
}  // namespace dbcache::commands
