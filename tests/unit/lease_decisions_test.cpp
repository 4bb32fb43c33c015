// How leases end, are prolonged and used, and what usage counts make of them.

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

// ---- Ending

class EndingALease : public Leases {};

TEST_F(EndingALease, TellsTheCountAfterItAndThatItWasTheLast) {
  const Grant held = created();
  const auto [decision, first] = commit(EndLease{{held.lease}});
  EXPECT_TRUE(decision.result.was_held);
  EXPECT_TRUE(decision.result.was_last);
  EXPECT_EQ(decision.result.usage_count, 0);
  EXPECT_EQ(decision.result.config_hash, "hash");
  EXPECT_EQ(decision.result.cluster_id, "c-1");
  EXPECT_EQ(told(decision.events),
            told({LeaseReleased{"hash", held.lease, "c-1", HandBackPolicy::keep, 0, now}}));
}

TEST_F(EndingALease, IsNotTheLastWhereAnotherIsHeld) {
  const Grant first = created();
  joined();
  const LeaseEnded ended = end(first);
  EXPECT_FALSE(ended.was_last);
  EXPECT_EQ(ended.usage_count, 1);
}

TEST_F(EndingALease, IsTheLastWhereOnlyDocumentedUsesAreLeft) {
  const Grant held = created();
  commit(IncrementUsage{"hash"});
  const LeaseEnded ended = end(held);
  EXPECT_TRUE(ended.was_last);
  EXPECT_EQ(ended.usage_count, 1);
}

TEST_F(EndingALease, TwiceIsOnce) {
  const Grant held = created();
  end(held);
  const auto [decision, first] = commit(EndLease{{held.lease}});
  EXPECT_FALSE(decision.result.was_held);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(EndingALease, ThatWasTakenForDeadIsNothing) {
  const Grant held = created();
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
  const Grant held = created(HandBackPolicy::hand_back);
  append(reap(present()));
  append(decide(EndLease{{held.lease}}, present()).events);
  EXPECT_EQ(told(hand_back(present())),
            told({TerminationOwed{"c-1", "c-1", "token-1", "hash", workspace,
                                  OwedReason::handed_back, now},
                  ClusterRemoved{"c-1", ClusterRemovalReason::handed_back},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::handed_back}}));
}

TEST_F(EndingALease, TheLastOneDecidesAndNotTheCreators) {
  const Grant first = created(HandBackPolicy::hand_back);
  const Grant second = joined();
  end(first);
  end(second);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(EndingALease, TheLastOneDecidesToHandBackToo) {
  const Grant first = created(HandBackPolicy::keep);
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  const Grant second = joined(by);
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
  const Grant held = created(HandBackPolicy::hand_back);
  commit(RenewLease{{held.lease}, at("10:40"), true});
  now = at("10:40");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(EndingALease, DoesNotHandBackWhatAnEntryOfTheEnvironmentStillHolds) {
  const Grant held = created(HandBackPolicy::hand_back);
  Acquire by = acquirer("cluster-id-c-1");
  by.fixed_cluster = "c-1";
  const Grant fixed = joined(by);
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
  const Grant a = created();
  const Grant b = joined();
  joined();
  kill(a.holder);
  kill(b.holder);
  EXPECT_EQ(
      told(reap(present())),
      told({LeaseLost{"hash", a.lease, "c-1", HandBackPolicy::keep, LeaseLossReason::died, 2},
            LeaseLost{"hash", b.lease, "c-1", HandBackPolicy::keep, LeaseLossReason::died, 1}}));
}

TEST_F(Reaping, LeavesDocumentedUses) {
  const Grant held = created();
  commit(IncrementUsage{"hash"});
  kill(held.holder);
  tidy();
  EXPECT_EQ(entry().usage_count, 1);
  EXPECT_EQ(usage_of(entry(), tables).documented, 1);
}

TEST_F(Reaping, OfTheVeryMomentOfADeadline) {
  const Grant held = created();
  commit(RenewLease{{held.lease}, at("10:40"), true});
  kill(held.holder);  // it outlives its process
  now = at("10:39:59.999999");
  EXPECT_THAT(reap(present()), IsEmpty());
  now = at("10:40");
  EXPECT_EQ(all_of<LeaseLost>(reap(present())).at(0).reason, LeaseLossReason::deadline);
}

TEST_F(Reaping, OfALeaseThatCannotBeJudgedThirtyMinutesAfterItsGrant) {
  const Grant held = created();
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
            told({CheckAnswered{"hash", "c-1", check, CheckAnswer::died, std::nullopt, now}}));
}

TEST_F(Reaping, OfADeadTerminatorIsAFailureThatKeepsTheDebt) {
  end(created(HandBackPolicy::hand_back));
  const auto [pending, termination] = claim();
  kill(last_terminator);
  tidy();
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.pending_termination("c-1")->termination, std::nullopt);
  EXPECT_EQ(tables.pending_termination("c-1")->attempts, 1);
  EXPECT_NE(tables.pending_termination("c-1")->error.value().find("died"), std::string::npos);
}

TEST_F(Reaping, EveryoneAtOnce) {
  kill(created(HandBackPolicy::hand_back).holder);
  const Acquire creator = acquirer("other");
  commit(RecordStarted{"other", {acquire(creator).number}, "c-2"});
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
  const Grant held = created();
  const Events events = commit(RenewLease{{held.lease}, at("12:30"), true}).first.events;
  EXPECT_EQ(told(events),
            told({LeaseRenewed{"hash", held.lease, at("12:30"), rows::Deadline{now, "", 0}}}));
  const Holder holder = tables.lease(held.lease)->holder;
  EXPECT_EQ(holder.until, at("12:30"));
  EXPECT_EQ(holder.lock_file, "");
  EXPECT_EQ(holder.lock, 0);
  EXPECT_EQ(holder.process, held.holder.process);
}

// ---- The clock that gives a deadline, or judges it, may be wrong

class WrongClock : public Leases {
 protected:
  WrongClock() { liveness.boot = system::BootTime{"boot", minutes{100}}; }

  /// A lease for an hour, given when the clock shows this.
  void lease_for_an_hour(const std::string& time) {
    const Grant held = created();
    now = at(time);
    commit(RenewLease{{held.lease}, now + minutes{60}, true});
  }
  void pass(std::chrono::minutes time) { liveness.boot->since_boot += time; }
  [[nodiscard]] bool is_held() { return reap(present()).empty(); }
  using minutes = std::chrono::minutes;
};

TEST_F(WrongClock, AheadWhenTheDeadlineIsGivenItHoldsForItsHourAlone) {
  lease_for_an_hour("23:00");
  now = at("10:30");

  EXPECT_TRUE(is_held());
  pass(minutes{59});
  EXPECT_TRUE(is_held());
  pass(minutes{1});
  EXPECT_FALSE(is_held());
}

TEST_F(WrongClock, BehindWhenTheDeadlineIsGivenItHoldsForItsHourAllTheSame) {
  lease_for_an_hour("01:00");
  now = at("10:30");

  EXPECT_TRUE(is_held());
  pass(minutes{60});
  EXPECT_FALSE(is_held());
}

TEST_F(WrongClock, AheadBeforeABootTheDeadlineHasEnded) {
  lease_for_an_hour("23:00");
  now = at("10:30");
  liveness.boot = system::BootTime{"the next boot", minutes{1}};

  EXPECT_FALSE(is_held());
}

TEST_F(WrongClock, AfterABootTheClockTells) {
  lease_for_an_hour("10:30");
  liveness.boot = system::BootTime{"the next boot", minutes{1000}};

  now = at("11:29");
  EXPECT_TRUE(is_held());
  now = at("11:30");
  EXPECT_FALSE(is_held());
}

TEST_F(WrongClock, OnAServerADeadlineThatBeginsInTheFutureHasEnded) {
  liveness.boot.reset();
  lease_for_an_hour("23:00");

  EXPECT_TRUE(is_held());
  now = at("22:59");  // as little as a step's own time may be old when it judges
  EXPECT_TRUE(is_held());
  now = at("22:58");
  EXPECT_FALSE(is_held());
}

TEST_F(WrongClock, ADeadlineOfAnOlderVersionBeginsWithItsGrant) {
  const Grant held = created();
  append({LeaseRenewed{"hash", held.lease, at("23:00"), std::nullopt}});

  EXPECT_TRUE(is_held());
  now = at("10:00");
  EXPECT_FALSE(is_held());
}

TEST_F(RenewingALease, MovesTheDeadline) {
  const Grant held = created();
  commit(RenewLease{{held.lease}, at("10:40"), true});
  commit(RenewLease{{held.lease}, at("12:00"), false});
  now = at("11:30");
  EXPECT_THAT(reap(present()), IsEmpty());
}

TEST_F(RenewingALease, ThatAProcessHoldsIsRefused) {
  const Grant held = created();
  EXPECT_THROW(commit(RenewLease{{held.lease}, at("12:00"), false}), InvalidArgument);
}

TEST_F(RenewingALease, ThatEndedIsNotFound) {
  const Grant held = created();
  end(held);
  EXPECT_THROW(commit(RenewLease{{held.lease}, at("12:00"), false}), NotFound);
}

TEST_F(RenewingALease, WhoseDeadlinePassedIsNotFound) {
  const Grant held = created();
  commit(RenewLease{{held.lease}, at("10:40"), true});
  now = at("10:40");
  EXPECT_THROW(commit(RenewLease{{held.lease}, at("12:00"), false}), NotFound);
}

TEST_F(RenewingALease, OfOnesOwnThatWasLostSaysSo) {
  const Grant held = created();
  commit(BelieveDead{{held.lease}});
  EXPECT_THROW(commit(RenewLease{{held.lease}, at("12:00"), true}), dbcache::LeaseLost);
}

// ---- Who uses a cluster

class NotingAUse : public Leases {};

TEST_F(NotingAUse, NamesTheUserAndTheLease) {
  const Grant held = created();
  const Events events = commit(NoteUse{{held.lease}, "test_1"}).first.events;
  EXPECT_EQ(told(events), told({ClusterUsed{"c-1", held.lease, "test_1"}}));
}

TEST_F(NotingAUse, UnderALeaseThatHasEndedIsRefused) {
  const Grant held = created();
  commit(BelieveDead{{held.lease}});
  EXPECT_THROW(commit(NoteUse{{held.lease}, "test_1"}), dbcache::LeaseLost);
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
  const Grant held = created(HandBackPolicy::hand_back);
  commit(IncrementUsage{"hash"});
  end(held);
  EXPECT_THAT(owed(), IsEmpty());
  commit(DecrementUsage{"hash"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(UsageCounts, ThatAreDocumentedBlockHandBackUntilTheExpiryOnly) {
  const Grant held = created(HandBackPolicy::hand_back);
  commit(IncrementUsage{"hash"});
  end(held);
  now = at("11:30");
  tidy();
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

}  // namespace
}  // namespace dbcache::commands
