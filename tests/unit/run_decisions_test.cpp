// Runs: how workers join and leave them, and which clusters they keep.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using rows::Holder;
using test::at;
using test::Leases;
using test::told;
using testing::ElementsAre;
using testing::IsEmpty;

class Runs : public Leases {
 protected:
  std::pair<Holder, std::int64_t> join(const std::string& run) {
    const Holder holder = someone();
    return {holder, commit(JoinRun{run, "worker", "gw0", holder}).second};
  }
  Grant created_in(const std::string& run) {
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
  const Events events = commit(LeaveRun{{id}}).first.events;
  EXPECT_EQ(told(events), told({RunLeft{"nightly", id, RunLeftReason::left}}));
  EXPECT_THAT(commit(LeaveRun{{id}}).first.events, IsEmpty());
}

TEST_F(Runs, KeepAClusterThatTheyUsedWhileAnyoneTakesPart) {
  const auto first = join("nightly");
  const auto second = join("nightly");
  end(created_in("nightly"));
  EXPECT_THAT(owed(), IsEmpty());
  commit(LeaveRun{{first.second}});
  EXPECT_THAT(owed(), IsEmpty());
  commit(LeaveRun{{second.second}});
  EXPECT_THAT(owed(), ElementsAre("c-1"));
}

TEST_F(Runs, KeepItWhoeverUsedItLast) {
  join("nightly");
  const Grant held = created_in("nightly");
  Acquire by = acquirer();
  by.policy = HandBackPolicy::hand_back;
  by.run = "other";
  const Grant second = joined(by);
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
