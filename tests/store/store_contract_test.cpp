#include <set>
#include <unistd.h>

#include <boost/json/parse.hpp>

#include <dbcache/errors.hpp>

#include "commands/clusters.hpp"
#include "commands/registry.hpp"
#include "engine_contract.hpp"
#include "store/chain.hpp"
#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"

namespace json = boost::json;

namespace dbcache::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Without what the surroundings of the test may set.
class StoreContract : public EngineContract {
 protected:
  test::ScopedVariable label_{"DBCACHE_LABEL", ""};
  test::ScopedVariable pytest_{"PYTEST_CURRENT_TEST", ""};

  static void cache(Store& store, const std::string& cluster_id) {
    commands::CacheCluster command;
    command.input.cluster_id = cluster_id;
    store.transact(
        [&](const rows::Present& present) { return commands::decide(command, present).events; });
  }
  static void register_creation(Store& store, const std::string& hash) {
    const commands::RegisterCreation command{hash, {1, {}, "boot", "namespace"}};
    store.transact(
        [&](const rows::Present& present) { return commands::decide(command, present).events; });
  }
  static void increment(Store& store, const std::string& hash) {
    store.transact([&](const rows::Present& present) {
      return commands::decide(commands::IncrementUsage{hash}, present).events;
    });
  }
  static std::vector<EventRecord> log_of(const Store& store) {
    std::vector<EventRecord> records;
    store.read([&](const ReadSession& session) { records = session.log.read(0, 1000); });
    return records;
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, StoreContract, engines(), engine_name);

TEST_P(StoreContract, TheEventsOfOneCommandShareItsIdAndNoOthers) {
  Store store(options());

  cache(store, "c-1");
  cache(store, "c-2");  // deactivates c-1 too

  const auto log = log_of(store);
  ASSERT_THAT(log, SizeIs(3));
  EXPECT_EQ(log[1].command_id, log[2].command_id);
  EXPECT_NE(log[0].command_id, log[1].command_id);
  EXPECT_EQ(log[0].command_id.size(), 16U);
}

TEST_P(StoreContract, PositionsAndVersionsHaveNoGaps) {
  Store store(options());
  register_creation(store, "h-1");
  register_creation(store, "h-2");
  increment(store, "h-1");
  increment(store, "unknown");  // no event
  increment(store, "h-2");
  increment(store, "h-1");

  std::vector<std::tuple<std::int64_t, std::string, std::int64_t>> found;
  for (const EventRecord& event : log_of(store)) {
    found.emplace_back(event.position, event.stream, event.version);
  }

  EXPECT_THAT(found, ElementsAre(std::tuple(1, "registry-h-1", 1), std::tuple(2, "registry-h-2", 1),
                                 std::tuple(3, "registry-h-1", 2), std::tuple(4, "registry-h-2", 2),
                                 std::tuple(5, "registry-h-1", 3)));
}

TEST_P(StoreContract, EachEventIsChainedToTheOneBeforeItInItsStream) {
  Store store(options());
  register_creation(store, "h-1");
  register_creation(store, "h-2");
  increment(store, "h-1");

  const auto log = log_of(store);

  ASSERT_THAT(log, SizeIs(3));
  EXPECT_EQ(log[0].hash, chain_hash(log[0], ""));
  EXPECT_EQ(log[1].hash, chain_hash(log[1], ""));
  EXPECT_EQ(log[2].hash, chain_hash(log[2], log[0].hash));
}

TEST_P(StoreContract, MetadataSaysWhereAndWho) {
  Options labelled = options();
  labelled.label = "the label";
  Store store(labelled);

  cache(store, "c");

  const json::object metadata = json::parse(log_of(store).at(0).metadata).as_object();
  EXPECT_EQ(metadata.at("pid"), ::getpid());
  EXPECT_EQ(metadata.at("label"), "the label");
  EXPECT_EQ(metadata.at("program"), program_invocation_short_name);
  EXPECT_FALSE(metadata.at("host").as_string().empty());
  EXPECT_FALSE(metadata.at("user").as_string().empty());
  EXPECT_THAT(metadata, SizeIs(5));
}

TEST_P(StoreContract, TheLabelComesFromTheVariableOfTheMoment) {
  Store store(options());

  cache(store, "none");
  {
    const test::ScopedVariable pytest("PYTEST_CURRENT_TEST", "a.py::test");
    cache(store, "pytest");
    const test::ScopedVariable label("DBCACHE_LABEL", "job 7");
    cache(store, "label");
  }

  std::vector<json::value> labels;
  for (const EventRecord& event : log_of(store)) {
    if (event.type == "ClusterCached") labels.push_back(json::parse(event.metadata).at("label"));
  }
  EXPECT_THAT(labels, ElementsAre(json::value(), json::value("a.py::test"), json::value("job 7")));
}

TEST_P(StoreContract, EventsAreRecordedAtTheTimeOfTheClockGiven) {
  test::ManualClock clock("2030-01-01T00:00:00.000001");
  Options with_clock = options();
  with_clock.clock = clock.clock();
  Store store(with_clock);

  cache(store, "c");

  EXPECT_EQ(log_of(store).at(0).recorded_at, clock.now().time_since_epoch().count());
  EXPECT_EQ(store.now(), clock.now());
}

TEST_P(StoreContract, TheClockMayItselfUseTheStore) {
  Store plain(options());
  cache(plain, "c");
  Options nested = options();
  nested.clock = [&plain] {
    cache(plain, "from the clock");
    return parse_timestamp("2030-01-01");
  };
  Store store(nested);

  cache(store, "d");

  EXPECT_EQ(log_of(plain).back().stream, "cluster-d");
}

TEST_P(StoreContract, AnExceptionOfTheClockChangesNothing) {
  struct Mine {};
  Options broken = options();
  broken.clock = []() -> Timestamp { throw Mine{}; };
  Store store(broken);

  EXPECT_THROW(cache(store, "c"), Mine);

  EXPECT_TRUE(place_->is_untouched());
}

TEST_P(StoreContract, ADecisionThatThrowsLeavesNoEventAndNoRow) {
  Store store(options());
  cache(store, "c-1");

  EXPECT_THROW(
      store.transact([](const rows::Present&) -> events::Events { throw NotFound("nothing"); }),
      NotFound);

  EXPECT_THAT(log_of(store), SizeIs(1));
}

TEST_P(StoreContract, AnObserverThatThrowsLeavesNoEventAndNoRow) {
  Store store(options());
  cache(store, "c-1");

  EXPECT_THROW(store.transact(
                   [](const rows::Present&) {
                     return events::Events{
                         events::ClusterRemoved{"c-1", events::ClusterRemovalReason::cleared}};
                   },
                   [](const rows::TableReader&) { throw NotFound("nothing"); }),
               NotFound);

  EXPECT_THAT(log_of(store), SizeIs(1));
  store.read(
      [](const ReadSession& session) { EXPECT_TRUE(session.tables.cluster("c-1").has_value()); });
}

TEST_P(StoreContract, TheObserverSeesTheRowsAfterTheEvents) {
  Store store(options());
  std::int64_t seen = 0;
  register_creation(store, "h");

  store.transact(
      [](const rows::Present& present) {
        return commands::decide(commands::IncrementUsage{"h"}, present).events;
      },
      [&](const rows::TableReader& rows) { seen = rows.entry("h")->usage_count; });

  EXPECT_EQ(seen, 2);
}

TEST_P(StoreContract, TheIdOfARowIsThePositionOfTheEventThatMadeIt) {
  Store store(options());
  cache(store, "c-1");
  cache(store, "c-2");
  register_creation(store, "h");

  store.read([](const ReadSession& session) {
    EXPECT_EQ(session.tables.cluster("c-1")->id, 1);
    EXPECT_EQ(session.tables.cluster("c-2")->id, 3);
    EXPECT_EQ(session.tables.entry("h")->id, 4);
  });
}

}  // namespace
}  // namespace dbcache::store
