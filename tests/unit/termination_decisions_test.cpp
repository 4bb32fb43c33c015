// What is owed: who may settle it, and what cancels it.

#include <chrono>
#include <cstdint>
#include <limits>

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using namespace std::chrono_literals;
using rows::PendingTermination;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class OwedClusters : public Leases {
 protected:
  void owe_cluster(const std::string& cluster_id,
                   const std::optional<std::string>& host = workspace) {
    append({TerminationOwed{cluster_id, cluster_id, "token-of-" + cluster_id, "hash", host,
                            OwedReason::handed_back, now}});
  }
  std::optional<std::string> claimed() {
    const auto pending = claim().first;
    return pending ? std::optional(pending->subject) : std::nullopt;
  }
};

// ---- Claiming

TEST_F(OwedClusters, AreClaimedOldestFirst) {
  owe_cluster("b");
  now = at("10:31");
  owe_cluster("a");
  const auto [pending, termination] = claim();
  EXPECT_EQ(pending->subject, "b");
  EXPECT_EQ(pending->cluster_id, "b");
  EXPECT_EQ(pending->idempotency_token, "token-of-b");
  EXPECT_EQ(tables.pending_termination("b")->termination, termination);
  EXPECT_EQ(tables.pending_termination("b")->terminator, last_terminator);
  EXPECT_EQ(tables.pending_termination("b")->attempts, 1);
  EXPECT_EQ(claimed(), "a");
}

TEST_F(OwedClusters, AreNeverClaimedTwiceAtATime) {
  owe_cluster("a");
  EXPECT_EQ(claimed(), "a");
  EXPECT_EQ(claimed(), std::nullopt);
}

TEST_F(OwedClusters, AreClaimedAgainAfterAFailureAndTheErrorIsKeptUntilThen) {
  owe_cluster("a");
  const auto [pending, termination] = claim();
  commit(FinishTermination{"a", {termination}, "403"});
  EXPECT_EQ(tables.pending_termination("a")->error, "403");
  EXPECT_EQ(claimed(), "a");
  EXPECT_EQ(tables.pending_termination("a")->attempts, 2);
  EXPECT_EQ(tables.pending_termination("a")->error, std::nullopt);
}

TEST_F(OwedClusters, AreClaimedAgainWhenTheirTerminatorDied) {
  owe_cluster("a");
  claim();
  kill(last_terminator);
  EXPECT_EQ(claimed(), "a");
}

TEST_F(OwedClusters, AreNeverClaimedUnderALeaseOfWhateverEntry) {
  owe_cluster("c-1");
  LeaseGranted granted{"some", "c-1", someone(), {}, {}, now, false, {}, {}, 1};
  append({granted});
  EXPECT_EQ(claimed(), std::nullopt);
  kill(granted.holder);
  EXPECT_EQ(claimed(), "c-1");
}

TEST_F(OwedClusters, AreClaimedForTheirHostAlone) {
  owe_cluster("elsewhere", "https://elsewhere");
  owe_cluster("nowhere", std::nullopt);
  EXPECT_EQ(claimed(), std::nullopt);
  ClaimTermination anywhere;
  anywhere.holder = someone();
  EXPECT_EQ(commit(anywhere).first.result->subject, "nowhere");
  anywhere.every_host = true;
  EXPECT_EQ(commit(anywhere).first.result->subject, "elsewhere");
}

TEST_F(OwedClusters, ThatWereTriedAreLeftToOthers) {
  owe_cluster("a");
  owe_cluster("b");
  ClaimTermination command;
  command.holder = someone();
  command.host = workspace;
  command.skip = {"a"};
  EXPECT_EQ(commit(command).first.result->subject, "b");
}

TEST_F(OwedClusters, AreSettledByTheAttemptUnderWayAlone) {
  owe_cluster("a");
  const std::int64_t first = claim().second;
  kill(last_terminator);
  const std::int64_t second = claim().second;
  EXPECT_THAT(commit(FinishTermination{"a", {first}, std::nullopt}).first.events, IsEmpty());
  EXPECT_THAT(commit(FinishTermination{"a", {first}, "late"}).first.events, IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("a"));
  EXPECT_EQ(told(commit(FinishTermination{"a", {second}, std::nullopt}).first.events),
            told({TerminationDone{"a", second}}));
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(OwedClusters, ByATokenAloneAreClaimedToo) {
  commit(FailCreation{"hash", {acquire().number}, "no quota"});
  const auto pending = claim().first;
  EXPECT_EQ(pending->subject, "token-1");
  EXPECT_EQ(pending->cluster_id, std::nullopt);
  EXPECT_EQ(pending->idempotency_token, "token-1");
}

TEST_F(OwedClusters, MayHaveBeenMadeByACreationThatFailedAfterwards) {
  commit(FailCreation{"hash", {acquire().number}, "busy", "c-made", "token-1"});
  const auto pending = claim().first;
  EXPECT_EQ(pending->cluster_id, "c-made");
  EXPECT_EQ(pending->idempotency_token, "token-1");
  EXPECT_EQ(tables.entry("hash")->cluster_id, "c-made");
}

TEST_F(OwedClusters, MayHaveBeenStartedAndThenAnotherMade) {
  const std::int64_t creation = acquire().number;
  commit(RecordStarted{"hash", {creation}, "c-started"});
  commit(FailCreation{"hash", {creation}, "busy", "c-made", "token-1"});
  EXPECT_THAT(owed(), UnorderedElementsAre("c-started", "c-made"));
}

TEST_F(OwedClusters, MayHaveBeenMadeByOneWhoIsNoLongerTheCreator) {
  const std::int64_t creation = acquire().number;
  commit(FailCreation{"hash", {creation}, "no quota"});
  const std::int64_t second = acquire().number;
  commit(FailCreation{"hash", {creation}, "busy", "c-late", "token-late"});
  EXPECT_THAT(owed(), ElementsAre("c-late"));
  EXPECT_EQ(tables.share("hash")->creation, second);
}

TEST_F(OwedClusters, AreNotOwedAnewWhileTheirTerminationGoesOn) {
  owe_cluster("c-ending");
  ASSERT_EQ(claim().first->subject, "c-ending");
  commit(FailCreation{"hash", {acquire().number}, "busy", "c-ending", "token-1"});
  EXPECT_THAT(owed(), ElementsAre("c-ending"));
}

TEST_F(OwedClusters, AreOwedOnce) {
  owe_cluster("a");
  Events events;
  owe({"a", "token", "hash", workspace, OwedReason::expired}, tables, now, events);
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(OwedClusters, OfNeitherIdNorTokenAreNone) {
  Events events;
  owe({std::nullopt, std::nullopt, "hash", workspace, OwedReason::expired}, tables, now, events);
  EXPECT_THAT(events, IsEmpty());
}

// ---- After a failure

class FailedTerminations : public OwedClusters {
 protected:
  FailedTerminations() { owe_cluster("a"); }

  void fail() {
    const auto termination = claim().second;
    commit(FinishTermination{"a", {termination}, "403"});
  }
  [[nodiscard]] ClaimTermination in_passing() {
    ClaimTermination command;
    command.holder = someone();
    command.host = workspace;
    command.in_passing = true;
    return command;
  }
  /// Whether a step on a lease would try it after so long.
  bool is_offered_after(std::chrono::seconds passed) {
    return decide(in_passing(), {tables, liveness, now + passed, names()}).result.has_value();
  }
};

TEST_F(FailedTerminations, AreOfferedToStepsAgainAfter1And2And4MinutesAndSoOnUpToAnHour) {
  EXPECT_TRUE(is_offered_after(0s));
  for (const auto pause : {1min, 2min, 4min, 8min, 16min, 32min, 60min, 60min, 60min}) {
    fail();
    EXPECT_FALSE(is_offered_after(0s)) << pause.count();
    EXPECT_FALSE(is_offered_after(pause - 1s)) << pause.count();
    EXPECT_TRUE(is_offered_after(pause)) << pause.count();
  }
}

TEST_F(FailedTerminations, WaitAnHourAtMostAfterAnyNumberOfAttempts) {
  EXPECT_EQ(pause_after(std::numeric_limits<std::int64_t>::max()), 60min);
  EXPECT_EQ(pause_after(std::numeric_limits<std::int64_t>::min()), 1min);
}

TEST_F(FailedTerminations, AreTriedAtOnceByACallThatAsksForIt) {
  fail();
  EXPECT_EQ(claimed(), "a");
}

TEST_F(FailedTerminations, LeaveTheOthersToSteps) {
  fail();
  now += 1s;
  owe_cluster("b");
  EXPECT_EQ(commit(in_passing()).first.result->subject, "b");
  EXPECT_EQ(commit(in_passing()).first.result, std::nullopt);
}

TEST_F(FailedTerminations, AreForgottenOnceOneSucceeds) {
  fail();
  commit(FinishTermination{"a", {claim().second}, std::nullopt});
  owe_cluster("a");
  EXPECT_TRUE(is_offered_after(0s));
}

TEST_F(FailedTerminations, AreOfferedAtOnceIfTheirProcessDied) {
  claim();
  kill(last_terminator);
  tidy();
  EXPECT_TRUE(is_offered_after(0s));
}

TEST_F(FailedTerminations, SayInTheLogWhenTheyAreOfferedAgain) {
  const std::int64_t termination = claim().second;
  EXPECT_EQ(told(commit(FinishTermination{"a", {termination}, "403"}).first.events),
            told({TerminationFailed{"a", termination, "403", now + 1min}}));
  EXPECT_EQ(tables.pending_termination("a")->retry_at, now + 1min);
  claim();
  EXPECT_EQ(tables.pending_termination("a")->retry_at, std::nullopt);
}

TEST_F(FailedTerminations, OfAnOlderDbcacheAreOfferedAtOnce) {
  const auto older = parse_event("TerminationFailed",
                                 R"({"schema":1,"subject":"a","termination":7,"error":"403"})");
  EXPECT_EQ(std::get<TerminationFailed>(older).retry_at, std::nullopt);
}

// ---- Using again what is owed

/// A way of using a cluster, c-1.
struct Use {
  const char* name;
  void (*use)(test::LeaseWorld&);
};

void cache(test::LeaseWorld& world) {
  CacheCluster command;
  command.input.cluster_id = "c-1";
  world.commit(command);
}
void save(test::LeaseWorld& world) {
  SaveCluster command;
  command.cluster.cluster_id = "c-1";
  world.commit(command);
}
void start(test::LeaseWorld& world) {
  world.commit(RecordStarted{"new", {world.acquire("new").number}, "c-1"});
}
void make_ready(test::LeaseWorld& world) { world.created("new", "c-1"); }
void mark_ready(test::LeaseWorld& world) {
  world.commit(RegisterCreation{"documented", {1, 1, "boot", "pid:[1]"}});
  world.commit(ChangeStatus{"documented", RegistryStatus::ready, {"c-1", std::nullopt}});
}
void lease(test::LeaseWorld& world) {
  world.append({EntryImported{test::ready(test::entry_row(0, "imported"), "c-1"), {}, {}}});
  world.acquire("imported");
}
void lease_from_the_environment(test::LeaseWorld& world) {
  Acquire command = world.acquirer("cluster-id-c-1");
  command.fixed_cluster = "c-1";
  world.acquire(command);
}

class UsingWhatIsOwed : public OwedClusters, public testing::WithParamInterface<Use> {
 protected:
  UsingWhatIsOwed() { owe_cluster("c-1"); }
  void use() { GetParam().use(*this); }
};

TEST_P(UsingWhatIsOwed, CancelsTheDebtBeforeAnyoneClaimedIt) {
  use();
  EXPECT_THAT(owed(), IsEmpty());
  std::vector<std::string> cancelled;
  for (const auto& event : test::all_of<TerminationCancelled>(log)) {
    EXPECT_EQ(event.reason, CancelReason::in_use);
    cancelled.push_back(event.subject);
  }
  EXPECT_THAT(cancelled, ElementsAre("c-1"));
}

INSTANTIATE_TEST_SUITE_P(
    Uses, UsingWhatIsOwed,
    testing::Values(Use{"Caching", cache}, Use{"Saving", save}, Use{"Starting", start},
                    Use{"Readying", make_ready}, Use{"Marking", mark_ready}, Use{"Leasing", lease},
                    Use{"LeasingFromTheEnvironment", lease_from_the_environment}),
    [](const auto& each) { return std::string(each.param.name); });

class UsingWhatIsBeingTerminated : public UsingWhatIsOwed {
 protected:
  const std::int64_t termination_ = claim().second;
};

TEST_P(UsingWhatIsBeingTerminated, IsBusyUntilItIsSettled) {
  EXPECT_THROW(use(), Busy);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_FALSE(is_cluster_held("c-1", present()));
  commit(FinishTermination{"c-1", {termination_}, "403"});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_P(UsingWhatIsBeingTerminated, IsWellOnceItIsSettled) {
  commit(FinishTermination{"c-1", {termination_}, std::nullopt});
  EXPECT_NO_THROW(use());
}

INSTANTIATE_TEST_SUITE_P(
    Uses, UsingWhatIsBeingTerminated,
    testing::Values(Use{"Caching", cache}, Use{"Saving", save}, Use{"Starting", start},
                    Use{"Readying", make_ready}, Use{"Marking", mark_ready},
                    Use{"LeasingFromTheEnvironment", lease_from_the_environment}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_F(OwedClusters, MarkedAsAnythingButReadyStayOwed) {
  owe_cluster("c-1");
  commit(RegisterCreation{"documented", {1, 1, "boot", "pid:[1]"}});
  commit(ChangeStatus{"documented", RegistryStatus::failed, {"c-1", "broken"}});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(OwedClusters, SaidToBeTerminatedAreSettled) {
  owe_cluster("c-1");
  const auto [decision, first] = commit(RemoveTerminated{"c-1"});
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(told(decision.events), told({TerminationCancelled{"c-1", CancelReason::terminated}}));
}

TEST_F(OwedClusters, AReadyEntryWhoseClusterIsBeingTerminatedIsReplaced) {
  owe_cluster("c-1");
  claim();
  append({EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  EXPECT_EQ(acquire().next, AcquireStep::Next::create);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

}  // namespace
}  // namespace dbcache::commands
