// Expired clusters are handed back, but never from under a lease.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using test::at;
using test::Leases;
using test::told;
using test::workspace;
using testing::ElementsAre;

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
  const Grant held = created(HandBackPolicy::keep);
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

}  // namespace
}  // namespace dbcache::commands
