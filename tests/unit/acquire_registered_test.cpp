// How an acquire comes to a cluster that a worker registered by the documented calls.

#include <gmock/gmock.h>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using rows::EntryOrigin;
using rows::Holder;
using test::at;
using test::Leases;
using testing::IsEmpty;
using Next = AcquireStep::Next;

class AcquiringWhatWasRegistered : public Leases {
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
  const auto decision = decide(acquirer(), Present{tables, alive, at("23:00"), names()});
  EXPECT_EQ(decision.result.next, Next::wait_for_creator);
  EXPECT_EQ(decision.result.awaited->process.pid, 4711);
  EXPECT_EQ(decision.result.since, at("10:30"));
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_F(AcquiringWhatWasRegistered, TakesOverAtOnceFromOneThatIsDead) {
  const OneVerdict dead(Liveness::Verdict::dead);
  const auto decision = decide(acquirer(), Present{tables, dead, now, names()});
  EXPECT_EQ(decision.result.next, Next::create);
}

TEST_F(AcquiringWhatWasRegistered, WaitsThirtyMinutesForOneThatCannotBeJudged) {
  now = at("10:59:59.999999");
  EXPECT_EQ(acquire().next, Next::wait_for_creator);
  now = at("11:00");
  EXPECT_EQ(acquire().next, Next::create);
}

TEST_F(AcquiringWhatWasRegistered, OwesNothingForWhatItTakesOver) {
  commit(ChangeStatus{"hash", RegistryStatus::creating, {"c-mine", std::nullopt}});
  now = at("11:00");
  const Step step = acquire();
  EXPECT_EQ(step.next, Next::create);
  EXPECT_EQ(step.cluster_id, std::nullopt);
  EXPECT_EQ(step.idempotency_token, "token-1");
  EXPECT_THAT(owed(), IsEmpty());
  EXPECT_EQ(share().origin, EntryOrigin::acquired);
}

TEST_F(AcquiringWhatWasRegistered, TakesOverWhatFailed) {
  commit(ChangeStatus{"hash", RegistryStatus::failed, {std::nullopt, "quota"}});
  EXPECT_EQ(acquire().next, Next::create);
  EXPECT_EQ(entry().status, RegistryStatus::creating);
  EXPECT_EQ(entry().error_message, std::nullopt);
}

TEST_F(AcquiringWhatWasRegistered, JoinsWhatIsReadyBesideTheDocumentedUse) {
  commit(ChangeStatus{"hash", RegistryStatus::ready, {"c-1", std::nullopt}});
  EXPECT_EQ(acquire().next, Next::granted);
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

}  // namespace
}  // namespace dbcache::commands
