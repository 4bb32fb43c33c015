// Clusters that a holder finds dead: checks by holders, and reports without a check.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using events::LeaseLost;  // and not the error
using test::all_of;
using test::Leases;
using test::told;
using testing::ElementsAre;
using testing::IsEmpty;
using Next = AcquireStep::Next;

class AClusterThatMayBeDead : public Leases {
 protected:
  const Grant held = created(HandBackPolicy::hand_back);
  const Grant other = joined();

  std::int64_t begin_check() {
    const auto [begun, first] = commit(BeginCheck{{held.lease}, held.holder});
    EXPECT_TRUE(begun.result.begun);
    return first;
  }
  Events answer(std::int64_t check, CheckAnswer said, const std::string& cluster_id = "c-1") {
    return commit(AnswerCheck{"hash", {check}, cluster_id, said, std::nullopt}).first.events;
  }
};

TEST_F(AClusterThatMayBeDead, IsCheckedByOneHolderWhileOthersWait) {
  begin_check();
  const auto [begun, first] = commit(BeginCheck{{other.lease}, other.holder});
  EXPECT_FALSE(begun.result.begun);
  EXPECT_FALSE(begun.result.lease_ended);
  EXPECT_EQ(begun.result.awaited, held.holder);
  EXPECT_THAT(begun.events, IsEmpty());
}

TEST_F(AClusterThatMayBeDead, AndIsGoesWithRowLeasesAndEntryAndIsNotOwed) {
  const std::int64_t check = begin_check();
  EXPECT_EQ(told(answer(check, CheckAnswer::dead)),
            told({CheckAnswered{"hash", "c-1", check, CheckAnswer::dead, std::nullopt, now},
                  LeaseLost{"hash", held.lease, "c-1", HandBackPolicy::hand_back,
                            LeaseLossReason::cluster_lost, 1},
                  LeaseLost{"hash", other.lease, "c-1", HandBackPolicy::keep,
                            LeaseLossReason::cluster_lost, 0},
                  ClusterRemoved{"c-1", ClusterRemovalReason::lost},
                  RegistryEntryRemoved{"hash", EntryRemovalReason::lost}}));
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(acquire().next, Next::create);
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
  const auto [begun, second] = commit(BeginCheck{{other.lease}, other.holder});
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
  EXPECT_TRUE(commit(BeginCheck{{held.lease}, held.holder}).first.result.lease_ended);
}

TEST_F(AClusterThatMayBeDead, IsNotHandedBackWhileItIsChecked) {
  end(other);
  begin_check();
  end(held);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AClusterThatMayBeDead, IsBelievedToBeAndOwedWhereNobodyCanCheck) {
  const auto [decision, first] = commit(BelieveDead{{held.lease}});
  EXPECT_TRUE(decision.result);
  EXPECT_EQ(all_of<LeaseLost>(decision.events).size(), 2u);
  ASSERT_THAT(owed(), ElementsAre("c-1"));
  EXPECT_EQ(tables.pending_termination("c-1")->reason, "reported_dead");
  EXPECT_EQ(tables.cluster("c-1"), std::nullopt);
  EXPECT_EQ(acquire().next, Next::create);
}

TEST_F(AClusterThatMayBeDead, IsNotBelievedOfALeaseThatEnded) {
  end(held);
  EXPECT_FALSE(commit(BelieveDead{{held.lease}}).first.result);
  EXPECT_EQ(entry().status, RegistryStatus::ready);
}

TEST_F(AClusterThatMayBeDead, IsLostToTheLeasesOfEveryEntryAndOwedOnce) {
  Acquire by = acquirer("cluster-id-c-1");
  by.fixed_cluster = "c-1";
  commit(BelieveDead{{joined(by).lease}});
  EXPECT_THAT(tables.leases(), IsEmpty());
  EXPECT_THAT(tables.entries(), IsEmpty());
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Leases, ADocumentedClusterThatIsBelievedDeadIsNotOwed) {
  append({EntryImported{test::ready(test::entry_row(0, "hash"), "c-1"), {}, {}}});
  commit(BelieveDead{{joined().lease}});
  EXPECT_EQ(tables.entry("hash"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

}  // namespace
}  // namespace dbcache::commands
