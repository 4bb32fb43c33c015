// Whether a cluster must be checked that was known to run a little earlier.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace std::chrono_literals;
using events::CheckAnswer;
using Next = AcquireStep::Next;

/// To every caller a yes counts for 30 s.
class KnownToRun : public test::Leases {
 protected:
  Acquire checking() {
    Acquire command = acquirer();
    command.checks = true;
    command.check_counts_for = 30s;
    return command;
  }
  Next next() { return acquire(checking()).next; }
  void answer(const Step& check, CheckAnswer said) {
    commit(AnswerCheck{"hash", {check.number}, check.cluster_id.value(), said, std::nullopt});
  }
  /// As `mark` does, which refuses it while a lease is held.
  void name(const std::string& cluster_id) {
    append({events::RegistryStatusChanged{"hash", RegistryStatus::ready, RegistryStatus::ready,
                                          cluster_id, std::nullopt}});
  }
};

TEST_F(KnownToRun, AReleaseCountsUntilItsTimeIsOver) {
  end(created());
  now += 29s;
  EXPECT_EQ(next(), Next::granted);
}

TEST_F(KnownToRun, AReleaseCountsNoLonger) {
  end(created());
  now += 30s;
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, AYesOfACheckCounts) {
  end(created());
  now += 30s;
  answer(acquire(checking()), CheckAnswer::alive);
  now += 29s;
  EXPECT_EQ(next(), Next::granted);
}

TEST_F(KnownToRun, ACheckWithoutAnAnswerSaysNothing) {
  end(created());
  now += 30s;
  const Acquire checker = checking();
  ASSERT_EQ(acquire(checker).next, Next::check);
  kill(checker.holder);
  tidy();
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, ACheckThatCannotTellSaysNothing) {
  end(created());
  now += 30s;
  answer(acquire(checking()), CheckAnswer::failed);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, ATimeOfTheFutureDoesNotCount) {
  end(created());
  now -= 1s;
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, AYesMayCountForEver) {
  end(created());
  now += 10min;
  Acquire command = checking();
  command.check_counts_for = std::chrono::milliseconds::max();
  EXPECT_EQ(acquire(command).next, Next::granted);
}

TEST_F(KnownToRun, AHolderThatDiedMakesItUnknown) {
  const Grant first = created();
  const Grant second = joined();
  end(first);
  kill(second.holder);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, ALeaseThatAnotherProcessEndedSaysNothing) {
  const Grant held = created();
  EndLease command{{held.lease}};
  command.by_name = true;
  commit(command);
  EXPECT_EQ(share().alive_at, std::nullopt);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, ALeaseThatHeldByADeadlineSaysNothing) {
  const Grant held = created();
  commit(RenewLease{{held.lease}, now + 1h, /*convert=*/true});
  end(held);
  EXPECT_EQ(share().alive_at, std::nullopt);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, AnotherClusterOfTheEntryIsNot) {
  end(created());
  name("c-2");
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, AReleaseOfTheEntrysEarlierClusterSaysNothing) {
  const Grant held = created();
  name("c-2");
  end(held);
  EXPECT_EQ(share().alive_at, std::nullopt);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, ALossOfTheEntrysEarlierClusterSaysNothing) {
  const Grant held = created();
  name("c-2");
  end(joined());
  kill(held.holder);
  tidy();
  EXPECT_EQ(share().alive_at, now);
}

TEST_F(KnownToRun, AYesOfTheEntrysEarlierClusterSaysNothing) {
  end(created());
  now += 30s;
  const Step check = acquire(checking());
  name("c-2");
  answer(check, CheckAnswer::alive);
  EXPECT_EQ(share().alive_at, std::nullopt);
  EXPECT_EQ(next(), Next::check);
}

TEST_F(KnownToRun, AHolderThatDoubtsItIsWaitedForWhateverTheOthersDo) {
  const Grant doubts = created();
  const Grant other = joined();
  end(joined());
  ASSERT_EQ(share().alive_at, now);
  commit(BeginCheck{{doubts.lease}, doubts.holder});
  EXPECT_EQ(share().alive_at, std::nullopt);
  end(other);
  end(doubts);
  EXPECT_EQ(next(), Next::wait_for_checker);
}

TEST_F(KnownToRun, ANewCreationBeginsWithNothingKnown) {
  end(created());
  commit(ChangeStatus{"hash", RegistryStatus::failed, {.cluster_id = "c-1"}});
  ASSERT_EQ(next(), Next::create);
  EXPECT_EQ(share().alive_at, std::nullopt);
}

}  // namespace
}  // namespace dbcache::commands
