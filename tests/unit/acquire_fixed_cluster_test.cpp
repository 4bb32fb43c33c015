// How an acquire comes to the cluster that DATABRICKS_CLUSTER_ID names.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using rows::EntryOrigin;
using test::Leases;
using test::workspace;
using testing::ElementsAre;
using testing::IsEmpty;
using Next = AcquireStep::Next;

class AcquiringAFixedCluster : public Leases {
 protected:
  Acquire fixed() {
    Acquire command = acquirer("cluster-id-c-9");
    command.fixed_cluster = "c-9";
    return command;
  }
};

TEST_F(AcquiringAFixedCluster, LeasesItUnderAnEntryOfItsOwnWithoutARowOfClusters) {
  const Step step = acquire(fixed());
  EXPECT_EQ(step.next, Next::granted);
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
  EXPECT_EQ(acquire(command).next, Next::granted);
}

TEST_F(AcquiringAFixedCluster, IsSharedByMany) {
  acquire(fixed());
  acquire(fixed());
  EXPECT_EQ(entry("cluster-id-c-9").usage_count, 2);
  EXPECT_EQ(tables.leases().size(), 2u);
}

TEST_F(AcquiringAFixedCluster, IsNeverOwedAndItsEntryGoesWithItsLastLease) {
  const Grant first = joined(fixed());
  Acquire command = fixed();
  command.policy = HandBackPolicy::hand_back;
  const Grant second = joined(command);
  end(first);
  EXPECT_TRUE(tables.entry("cluster-id-c-9").has_value());
  end(second);
  EXPECT_EQ(tables.entry("cluster-id-c-9"), std::nullopt);
  EXPECT_EQ(tables.share("cluster-id-c-9"), std::nullopt);
  EXPECT_THAT(owed(), IsEmpty());
}

TEST_F(AcquiringAFixedCluster, CancelsADebtOfThatCluster) {
  append({TerminationOwed{"c-9", "c-9", {}, "gone", workspace, OwedReason::expired, now}});
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
