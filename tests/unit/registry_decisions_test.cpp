// What the commands on the shared cluster registry decide.

#include <limits>

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "commands/registry.hpp"
#include "given.hpp"
#include "projections/memory_tables.hpp"

namespace dbcache::commands {
namespace {

using events::CreationRegistered;
using events::EntryRemovalReason;
using events::RegistryEntryRemoved;
using events::RegistryStatusChanged;
using events::UsageDecremented;
using events::UsageIncremented;
using projections::MemoryTables;
using test::at;
using test::entry_row;
using test::failed;
using test::ready;
using test::told;
using test::given::now;
using testing::HasSubstr;
using testing::IsEmpty;

const system::ProcessIdentity worker{4711, 1234, "boot", "pid:[1]"};

RegistryEntry used(RegistryEntry row, std::int64_t usage_count) {
  row.usage_count = usage_count;
  return row;
}

// ---- Registering

TEST(RegisteringACreation, MakesTheEntryOfAnUnknownHash) {
  const MemoryTables rows;
  const auto decision = decide(RegisterCreation{"hash", worker}, test::present(rows, now));
  EXPECT_EQ(told(decision.events), told({CreationRegistered{"hash", now, worker}}));
  EXPECT_TRUE(decision.result.created);
  EXPECT_TRUE(decision.result.joinable);
}

struct Found {
  const char* name;
  RegistryEntry entry;
  bool joinable;
};

class RegisteringWhereThereIsAnEntry : public testing::TestWithParam<Found> {};

TEST_P(RegisteringWhereThereIsAnEntry, TellsWhetherItCanBeJoinedAndChangesNothing) {
  MemoryTables rows;
  rows.put(GetParam().entry);
  const auto decision = decide(RegisterCreation{"hash", worker}, test::present(rows, now));
  EXPECT_FALSE(decision.result.created);
  EXPECT_EQ(decision.result.joinable, GetParam().joinable);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST_P(RegisteringWhereThereIsAnEntry, AgreesWithWhetherItCanBeJoined) {
  EXPECT_EQ(is_joinable(GetParam().entry), GetParam().joinable);
}

INSTANTIATE_TEST_SUITE_P(Entries, RegisteringWhereThereIsAnEntry,
                         testing::Values(Found{"Creating", entry_row(1, "hash"), true},
                                         Found{"Ready", ready(entry_row(1, "hash"), "c-1"), true},
                                         Found{"Failed", failed(entry_row(1, "hash"), "quota"),
                                               false},
                                         Found{"Unused", used(entry_row(1, "hash"), 0), true}),
                         [](const auto& each) { return std::string(each.param.name); });

// ---- Status

TEST(ChangingTheStatus, OfAnUnknownHashIsNotFound) {
  const MemoryTables rows;
  EXPECT_THROW(decide(ChangeStatus{"hash", RegistryStatus::failed, {}}, test::present(rows, now)),
               NotFound);
}

TEST(ChangingTheStatus, NamesTheHashThatIsNotFound) {
  const MemoryTables rows;
  try {
    decide(ChangeStatus{"hash", RegistryStatus::failed, {}}, test::present(rows, now));
    FAIL() << "nothing was thrown";
  } catch (const NotFound& error) {
    EXPECT_THAT(error.what(), HasSubstr("'hash'"));
  }
}

TEST(ChangingTheStatus, ToReadyWithoutAClusterIsRefused) {
  MemoryTables rows;
  rows.put(entry_row(1, "hash"));
  EXPECT_THROW(decide(ChangeStatus{"hash", RegistryStatus::ready, {}}, test::present(rows, now)),
               InvalidArgument);
}

TEST(ChangingTheStatus, ToReadyTakesTheClusterGiven) {
  MemoryTables rows;
  rows.put(entry_row(1, "hash"));
  EXPECT_EQ(told(decide(ChangeStatus{"hash", RegistryStatus::ready, {"c-1", std::nullopt}},
                        test::present(rows, now))
                     .events),
            told({RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::ready,
                                        "c-1", std::nullopt}}));
}

TEST(ChangingTheStatus, ToReadyKeepsTheClusterKnownWhereNoneIsGiven) {
  MemoryTables rows;
  RegistryEntry entry = entry_row(1, "hash");
  entry.cluster_id = "known";
  rows.put(entry);
  EXPECT_EQ(
      told(
          decide(ChangeStatus{"hash", RegistryStatus::ready, {}}, test::present(rows, now)).events),
      told({RegistryStatusChanged{"hash", RegistryStatus::creating, RegistryStatus::ready, "known",
                                  std::nullopt}}));
}

TEST(ChangingTheStatus, ReplacesAClusterKnownByTheOneGiven) {
  MemoryTables rows;
  rows.put(ready(entry_row(1, "hash"), "known"));
  const Events events = decide(ChangeStatus{"hash", RegistryStatus::ready, {"given", std::nullopt}},
                               test::present(rows, now))
                            .events;
  EXPECT_EQ(std::get<RegistryStatusChanged>(events.at(0)).cluster_id, "given");
}

TEST(ChangingTheStatus, ToFailedTakesTheErrorAndKeepsTheCluster) {
  MemoryTables rows;
  rows.put(ready(entry_row(1, "hash"), "c-1"));
  EXPECT_EQ(told(decide(ChangeStatus{"hash", RegistryStatus::failed, {std::nullopt, "quota"}},
                        test::present(rows, now))
                     .events),
            told({RegistryStatusChanged{"hash", RegistryStatus::ready, RegistryStatus::failed,
                                        "c-1", "quota"}}));
}

TEST(ChangingTheStatus, ClearsTheErrorWhereNoneIsGiven) {
  MemoryTables rows;
  rows.put(failed(entry_row(1, "hash"), "quota"));
  const Events events =
      decide(ChangeStatus{"hash", RegistryStatus::creating, {}}, test::present(rows, now)).events;
  EXPECT_EQ(std::get<RegistryStatusChanged>(events.at(0)).error_message, std::nullopt);
}

class AnyStatus : public testing::TestWithParam<std::tuple<RegistryStatus, RegistryStatus>> {};

TEST_P(AnyStatus, MayFollowAnyOther) {
  const auto [from, to] = GetParam();
  MemoryTables rows;
  RegistryEntry entry = ready(entry_row(1, "hash"), "c-1");
  entry.status = from;
  rows.put(entry);
  EXPECT_EQ(told(decide(ChangeStatus{"hash", to, {}}, test::present(rows, now)).events),
            told({RegistryStatusChanged{"hash", from, to, "c-1", std::nullopt}}));
}

constexpr auto all_statuses = {RegistryStatus::creating, RegistryStatus::ready,
                               RegistryStatus::failed};

INSTANTIATE_TEST_SUITE_P(Pairs, AnyStatus,
                         testing::Combine(testing::ValuesIn(all_statuses),
                                          testing::ValuesIn(all_statuses)),
                         [](const auto& each) {
                           return std::string(to_string(std::get<0>(each.param))) + "_to_" +
                                  std::string(to_string(std::get<1>(each.param)));
                         });

// ---- Usage

TEST(IncrementingUsage, TellsTheNewCount) {
  MemoryTables rows;
  rows.put(used(entry_row(1, "hash"), 3));
  const auto decision = decide(IncrementUsage{"hash"}, test::present(rows, now));
  EXPECT_EQ(decision.result, 4);
  EXPECT_EQ(told(decision.events), told({UsageIncremented{"hash", 4}}));
}

TEST(IncrementingUsage, CountsOnAnEntryThatFailedToo) {
  MemoryTables rows;
  rows.put(used(failed(entry_row(1, "hash"), "quota"), 0));
  EXPECT_EQ(decide(IncrementUsage{"hash"}, test::present(rows, now)).result, 1);
}

TEST(IncrementingUsage, StaysAtTheLargestCountThereIs) {
  MemoryTables rows;
  rows.put(used(entry_row(1, "hash"), std::numeric_limits<std::int64_t>::max()));
  EXPECT_EQ(decide(IncrementUsage{"hash"}, test::present(rows, now)).result,
            std::numeric_limits<std::int64_t>::max());
}

TEST(IncrementingUsage, OfAnUnknownHashIsZeroWithoutAnEvent) {
  const MemoryTables rows;
  const auto decision = decide(IncrementUsage{"hash"}, test::present(rows, now));
  EXPECT_EQ(decision.result, 0);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST(DecrementingUsage, TellsTheNewCount) {
  MemoryTables rows;
  rows.put(used(entry_row(1, "hash"), 3));
  const auto decision = decide(DecrementUsage{"hash"}, test::present(rows, now));
  EXPECT_EQ(decision.result, 2);
  EXPECT_EQ(told(decision.events), told({UsageDecremented{"hash", 2}}));
}

TEST(DecrementingUsage, ReachesZeroWithAnEvent) {
  MemoryTables rows;
  rows.put(entry_row(1, "hash"));
  EXPECT_EQ(told(decide(DecrementUsage{"hash"}, test::present(rows, now)).events),
            told({UsageDecremented{"hash", 0}}));
}

TEST(DecrementingUsage, NeverGoesBelowZeroAndHasNoEventThere) {
  MemoryTables rows;
  rows.put(used(entry_row(1, "hash"), 0));
  const auto decision = decide(DecrementUsage{"hash"}, test::present(rows, now));
  EXPECT_EQ(decision.result, 0);
  EXPECT_THAT(decision.events, IsEmpty());
}

TEST(DecrementingUsage, OfAnUnknownHashIsZeroWithoutAnEvent) {
  const MemoryTables rows;
  const auto decision = decide(DecrementUsage{"hash"}, test::present(rows, now));
  EXPECT_EQ(decision.result, 0);
  EXPECT_THAT(decision.events, IsEmpty());
}

// ---- Cleaning up

TEST(CleaningUpAnEntry, RemovesItWhateverItsStatusAndUsage) {
  MemoryTables rows;
  rows.put(used(ready(entry_row(1, "hash"), "c-1"), 5));
  EXPECT_EQ(told(decide(CleanUpEntry{"hash"}, test::present(rows, now)).events),
            told({RegistryEntryRemoved{"hash", EntryRemovalReason::cleaned_up}}));
}

TEST(CleaningUpAnEntry, OfAnUnknownHashHasNoEvent) {
  const MemoryTables rows;
  EXPECT_THAT(decide(CleanUpEntry{"hash"}, test::present(rows, now)).events, IsEmpty());
}

TEST(ClearingTheRegistry, RemovesEveryEntryOldestFirst) {
  MemoryTables rows;
  rows.put(entry_row(2, "a"));
  rows.put(entry_row(1, "b"));
  const auto decision = decide(ClearRegistry{}, test::present(rows, now));
  EXPECT_EQ(decision.result.removed, 2u);
  EXPECT_EQ(told(decision.events),
            told({RegistryEntryRemoved{"b", EntryRemovalReason::cleaned_up},
                  RegistryEntryRemoved{"a", EntryRemovalReason::cleaned_up}}));
}

TEST(ClearingTheRegistry, LeavesTheClustersAlone) {
  MemoryTables rows;
  rows.put(test::cluster_row(1, "c-1"));
  EXPECT_THAT(decide(ClearRegistry{}, test::present(rows, now)).events, IsEmpty());
}

}  // namespace
}  // namespace dbcache::commands
