// How far a step reaches: it judges the holders of its own configuration, and hands back what its
// own events left. Who died elsewhere is a sweep's business.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using events::LeaseLost;  // and not the error
using test::all_of;
using test::at;
using test::Leases;
using testing::ElementsAre;
using testing::IsEmpty;

/// Counts how often holders are judged.
class Probes final : public rows::Liveness {
 public:
  explicit Probes(const rows::Liveness& of) : of_(of) {}
  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override {
    ++count;
    return of_.probe(holder);
  }
  mutable int count = 0;

 private:
  const rows::Liveness& of_;
};

class AReach : public Leases {
 protected:
  [[nodiscard]] Reaped reap_of(Reach reach) const { return reap(present(), reach); }
  [[nodiscard]] static Reach of(const std::string& hash) {
    Reach reach;
    reach.config_hash = hash;
    return reach;
  }
  std::vector<Grant> held_by(int count) {
    std::vector<Grant> held{created()};
    while (static_cast<int>(held.size()) < count) held.push_back(joined());
    return held;
  }
};

TEST_F(AReach, EndsAtTheFirstHolderThatLives) {
  const auto held = held_by(100);
  kill(held[0].holder);
  kill(held[7].holder);
  const Probes probes(liveness);
  const Reaped reaped = reap({tables, probes, now, names()}, of("hash"));
  EXPECT_EQ(probes.count, 2);
  EXPECT_TRUE(reaped.all);
  const auto lost = all_of<LeaseLost>(reaped.events);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].lease, held[0].lease);
}

TEST_F(AReach, JudgesASuspectBehindOneThatLives) {
  const auto held = held_by(3);
  kill(held[1].holder);
  Reach reach = of("hash");
  reach.suspects = {held[1].lease, held[2].lease};
  const auto lost = all_of<LeaseLost>(reap_of(reach).events);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].lease, held[1].lease);
  EXPECT_EQ(lost[0].usage_count, 2);
}

TEST_F(AReach, DoesNotJudgeTheLeaseThatItEnds) {
  const auto held = held_by(2);
  kill(held[1].holder);
  Reach reach = of("hash");
  reach.ends = held[0].lease;
  EXPECT_EQ(all_of<LeaseLost>(reap_of(reach).events).size(), 1u);
}

TEST_F(AReach, TakesTheDeadInPortions) {
  for (const Grant& held : held_by(120)) kill(held.holder);
  const Reaped first = reap_of(of("hash"));
  EXPECT_FALSE(first.all);
  EXPECT_EQ(first.events.size(), most_reaped);
  transact(of("hash"), {});
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_EQ(entry().usage_count, 0);
}

TEST_F(AReach, LeavesOtherConfigurationsAlone) {
  const Grant other = created("other", "c-2");
  created("hash", "c-1");
  kill(other.holder);
  joined("hash");
  EXPECT_EQ(tables.count_leases_of("other"), 1);
  tidy();
  EXPECT_EQ(tables.count_leases_of("other"), 0);
}

TEST_F(AReach, OfALeaseOfAnotherConfigurationEndsNothing) {
  const Grant held = created();
  created("other", "c-2");
  EXPECT_FALSE(commit(EndLease{{held.lease}, "other"}).first.result.was_held);
  EXPECT_TRUE(tables.lease(held.lease).has_value());
  EXPECT_TRUE(commit(EndLease{{held.lease}, "hash"}).first.result.was_held);
}

TEST_F(AReach, GoesOnToAnEntryThatNamesTheSameCluster) {
  // "other" was marked to have the cluster of "hash", and was handed back but for a lease of that.
  Acquire by = acquirer("hash");
  by.policy = HandBackPolicy::hand_back;
  const Grant first = created(by, "c-1");
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  const Grant second = joined(fixed);
  end(first);
  EXPECT_THAT(owed(), IsEmpty()) << "a lease on the cluster lives";
  end(second);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AReach, OfTheLastOfARunGoesOnToWhatTheRunUsed) {
  const rows::Holder member = someone();
  const auto id = commit(JoinRun{"nightly", "worker", std::nullopt, member}).second;
  for (const std::string hash : {"a", "b"}) {
    Acquire by = acquirer(hash);
    by.policy = HandBackPolicy::hand_back;
    by.run = "nightly";
    end(created(by, "c-" + hash));
  }
  EXPECT_THAT(owed(), IsEmpty());
  commit(LeaveRun{{id}});
  EXPECT_THAT(owed(), ElementsAre("c-a", "c-b"));
}

TEST_F(AReach, OfTheLastOfARunTakesTheDeadForDeadThatUsedTheCluster) {
  const auto id = commit(JoinRun{"nightly", "worker", std::nullopt, someone()}).second;
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  by.run = "nightly";
  kill(created(by, "c-1").holder);
  commit(LeaveRun{{id}});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AReach, GoesOnToAnEntryWhoseHoldersAreDead) {
  Acquire by = acquirer("a");
  by.policy = HandBackPolicy::hand_back;
  const Grant first = created(by, "c-1");
  by = acquirer("b");
  by.policy = HandBackPolicy::hand_back;
  kill(created(by, "c-1").holder);
  end(first);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_THAT(tables.entries(), IsEmpty());
}

TEST_F(AReach, AsksNoOtherEntryWhileAHolderOfTheClusterLives) {
  const auto by = [&](const std::string& hash) {
    Acquire acquire = acquirer(hash);
    acquire.policy = HandBackPolicy::hand_back;
    return acquire;
  };
  std::vector<Grant> held;
  for (const std::string hash : {"a", "b", "c"}) held.push_back(created(by(hash), "c-1"));
  held.push_back(joined(by("b")));
  kill(held[1].holder);
  end(held[2]);
  EXPECT_EQ(tables.count_leases_of("b"), 2) << "the dead of others are a sweep's while one lives";
  EXPECT_THAT(owed(), IsEmpty());
  end(held[0]);
  EXPECT_EQ(tables.count_leases_of("b"), 1) << "the first lease left is of a dead holder";
  end(held[3]);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_THAT(tables.entries(), IsEmpty());
}

TEST_F(AReach, DoesNotTakeADeadHolderForOneWhoKeepsACluster) {
  const Grant first = created(HandBackPolicy::hand_back);
  Acquire fixed = acquirer("cluster-id-c-1");
  fixed.fixed_cluster = "c-1";
  kill(joined(fixed).holder);
  end(first);
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(AReach, OfADeadTerminationIsOnlyASweeps) {
  end(created(HandBackPolicy::hand_back));
  claim();
  kill(last_terminator);
  ClaimTermination again;
  again.holder = someone();
  again.host = test::workspace;
  EXPECT_EQ(commit(again).first.result, std::nullopt);
  tidy();
  EXPECT_TRUE(commit(again).first.result.has_value());
}

}  // namespace
}  // namespace dbcache::commands
