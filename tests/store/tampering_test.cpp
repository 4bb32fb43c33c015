#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "store/chain.hpp"
#include "support/manual_clock.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"
#include "text/hex.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// A log of nine events over three streams, whose triggers were dropped by hand:
/// 1 registry-a/1, 2 registry-b/1, 3 registry-a/2, 4 registry-b/2, 5 registry-a/3, 6 registry-b/3,
/// 7 registry-a/4, 8 cluster-c/1, 9 registry-a/5.
class Tampering : public ::testing::Test {
 protected:
  Tampering() {
    manager_.register_shared_cluster_creation("a", 1);
    manager_.register_shared_cluster_creation("b", 1);
    for (int i = 0; i < 2; ++i) {
      manager_.increment_shared_cluster_usage("a");
      manager_.increment_shared_cluster_usage("b");
    }
    manager_.increment_shared_cluster_usage("a");
    manager_.cache_new_cluster("c");
    manager_.increment_shared_cluster_usage("a");
    head_ = manager_.verify().head;
    test::drop_triggers(path_);
  }

  void tamper(const std::string& sql) const { test::run_sql(path_, sql); }

  /// Gives an event the hash that fits it as it is now.
  void recompute_hash(std::int64_t position) const {
    SQLite::Database database = test::open_raw(path_);
    SQLite::Statement event(database,
                            "SELECT position, stream, version, type, payload, metadata, "
                            "recorded_at, command_id, (SELECT hash FROM events AS b WHERE b.stream "
                            "= a.stream AND b.version = a.version - 1) FROM events AS a "
                            "WHERE position = ?");
    event.bind(1, position);
    ASSERT_TRUE(event.executeStep());
    store::EventRecord record;
    record.position = event.getColumn(0).getInt64();
    record.stream = event.getColumn(1).getString();
    record.version = event.getColumn(2).getInt64();
    record.type = event.getColumn(3).getString();
    record.payload = event.getColumn(4).getString();
    record.metadata = event.getColumn(5).getString();
    record.recorded_at = event.getColumn(6).getInt64();
    record.command_id = event.getColumn(7).getString();
    const std::string hash = store::chain_hash(record, event.getColumn(8).getString());
    event.reset();
    database.exec(fmt::format("UPDATE events SET hash = x'{}' WHERE position = {}",
                              text::to_hex(hash), position));
  }

  [[nodiscard]] std::vector<LogProblem> problems() const { return manager_.verify().problems; }

  static auto at(std::int64_t position, const std::string& stream) {
    return AllOf(Field("position", &LogProblem::position, position),
                 Field("stream", &LogProblem::stream, stream));
  }

  void expect_replay_refused_and_nothing_changed() {
    const std::string rows =
        "SELECT quote(id) || quote(config_hash) || quote(usage_count) FROM "
        "shared_cluster_registry ORDER BY id";
    const auto before = test::query_column(path_, rows);
    EXPECT_THROW(manager_.replay(), CorruptDatabase);
    EXPECT_THROW(manager_.replay({.mode = ReplayMode::check}), CorruptDatabase);
    EXPECT_EQ(test::query_column(path_, rows), before);
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  test::ManualClock clock_;
  CacheManager manager_{{.database = path_, .clock = clock_.clock()}};
  LogHead head_;
};

TEST_F(Tampering, ALogThatNobodyTouchedVerifiesAgainstItsHead) {
  const VerifyReport report = manager_.verify({.kept_head = head_});

  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.head, head_);
  EXPECT_EQ(report.head.events, 9);
  EXPECT_EQ(report.streams, 3);
}

/// One column of event 5 (registry-a, version 3) changed.
class AlteredColumn : public Tampering, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Columns, AlteredColumn,
                         ::testing::Values("type = 'UsageDecremented'",
                                           "payload = replace(payload, '3', '8')",
                                           "payload = payload || ' '", "metadata = '{}'",
                                           "recorded_at = recorded_at + 1",
                                           "command_id = zeroblob(16)", "command_id = x''",
                                           "hash = zeroblob(32)", "hash = x''"));

TEST_P(AlteredColumn, IsNamedAndReplayRefusesTheLog) {
  tamper(fmt::format("UPDATE events SET {} WHERE position = 5", GetParam()));

  EXPECT_THAT(problems(), ElementsAre(at(5, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventAlteredWithItsOwnHashRecomputedShowsAtTheNextOfItsStream) {
  tamper("UPDATE events SET payload = replace(payload, '3', '8') WHERE position = 5");
  recompute_hash(5);

  EXPECT_THAT(problems(), ElementsAre(at(7, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TheLastOfAStreamAlteredWithItsHashShowsAgainstAKeptHead) {
  tamper("UPDATE events SET payload = replace(payload, '5', '8') WHERE position = 9");
  recompute_hash(9);

  EXPECT_THAT(problems(), IsEmpty());
  EXPECT_THAT(manager_.verify({.kept_head = head_}).problems,
              ElementsAre(AllOf(at(0, ""), Field("what", &LogProblem::what,
                                                 HasSubstr("not those of the kept head")))));
}

TEST_F(Tampering, AnEventDroppedFromTheMiddleIsNamed) {
  tamper("DELETE FROM events WHERE position = 3");

  EXPECT_THAT(problems(), UnorderedElementsAre(at(3, ""), at(5, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TheOnlyEventOfAStreamDroppedIsNamed) {
  tamper("DELETE FROM events WHERE position = 8");

  EXPECT_THAT(problems(), ElementsAre(at(8, "")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TheFirstEventsDroppedAreNamed) {
  tamper("DELETE FROM events WHERE position <= 2");

  EXPECT_THAT(problems(),
              UnorderedElementsAre(at(1, ""), at(3, "registry-a"), at(4, "registry-b")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventDroppedAndTheRestMovedUpIsNamed) {
  tamper(
      "DELETE FROM events WHERE position = 3; "
      "UPDATE events SET position = position - 1 WHERE position > 3; "
      "UPDATE events SET version = version - 1 WHERE stream = 'registry-a' AND version > 2");

  EXPECT_THAT(problems(),
              UnorderedElementsAre(at(3, "registry-b"), at(4, "registry-a"), at(7, "cluster-c")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TwoSwappedWithinAStreamAreNamed) {
  // Positions and versions stay gapless: the contents of 3 and 5 change places.
  tamper(
      "UPDATE events SET position = -1 WHERE position = 3; "
      "UPDATE events SET position = 3 WHERE position = 5; "
      "UPDATE events SET position = 5 WHERE position = -1; "
      "UPDATE events SET version = 99 WHERE position = 3; "
      "UPDATE events SET version = 3 WHERE position = 5; "
      "UPDATE events SET version = 2 WHERE position = 3");

  EXPECT_THAT(problems(), ElementsAre(at(3, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TwoSwappedAcrossStreamsAreNamed) {
  tamper(
      "UPDATE events SET position = -1 WHERE position = 3; "
      "UPDATE events SET position = 3 WHERE position = 4; "
      "UPDATE events SET position = 4 WHERE position = -1");

  EXPECT_THAT(problems(), UnorderedElementsAre(at(3, "registry-b"), at(4, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventReplacedWithoutItsHashIsNamed) {
  tamper(
      "INSERT OR REPLACE INTO events SELECT position, stream, version, 'UsageDecremented', "
      "'{\"schema\":1,\"config_hash\":\"b\",\"usage_count\":0}', metadata, recorded_at, "
      "command_id, hash FROM events WHERE position = 6");

  EXPECT_THAT(problems(), ElementsAre(at(6, "registry-b")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventReplacedWithItsHashIsNamedAtTheNextOfItsStream) {
  tamper(
      "INSERT OR REPLACE INTO events SELECT position, stream, version, 'UsageDecremented', "
      "'{\"schema\":1,\"config_hash\":\"b\",\"usage_count\":0}', metadata, recorded_at, "
      "command_id, hash FROM events WHERE position = 4");
  recompute_hash(4);

  EXPECT_THAT(problems(), ElementsAre(at(6, "registry-b")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventMovedToAnotherStreamIsNamed) {
  tamper("UPDATE events SET stream = 'registry-z' WHERE position = 9");

  EXPECT_THAT(problems(), ElementsAre(at(9, "registry-z")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, EveryBrokenStreamIsNamedOnce) {
  tamper("UPDATE events SET metadata = '{}'");

  EXPECT_THAT(problems(),
              UnorderedElementsAre(at(1, "registry-a"), at(2, "registry-b"), at(8, "cluster-c")));
}

TEST_F(Tampering, ATailCutOffShowsOnlyAgainstAKeptHead) {
  tamper("DELETE FROM events WHERE position > 7");

  EXPECT_THAT(problems(), IsEmpty());
  EXPECT_THAT(
      manager_.verify({.kept_head = head_}).problems,
      ElementsAre(AllOf(at(0, ""), Field("what", &LogProblem::what, HasSubstr("tail was cut")))));
}

TEST_F(Tampering, AWholeLogCutOffShowsAgainstAKeptHead) {
  tamper("DELETE FROM events");

  EXPECT_THAT(manager_.verify({.kept_head = head_}).problems, ElementsAre(at(0, "")));
}

TEST_F(Tampering, AKeptHeadFitsALogThatWentOn) {
  manager_.increment_shared_cluster_usage("a");

  EXPECT_TRUE(manager_.verify({.kept_head = head_}).ok());
}

/// A position before the first.
class BelowOne : public Tampering, public ::testing::WithParamInterface<std::int64_t> {};

INSTANTIATE_TEST_SUITE_P(Positions, BelowOne,
                         ::testing::Values(0, -1, -1'000'000,
                                           std::numeric_limits<std::int64_t>::min() + 1));

TEST_P(BelowOne, AnEventPutThereIsNamedAndReplayRefusesTheLog) {
  tamper(
      fmt::format("INSERT INTO events SELECT {}, 'registry-z', 1, type, payload, metadata, "
                  "recorded_at, command_id, hash FROM events WHERE position = 1",
                  GetParam()));
  recompute_hash(GetParam());

  EXPECT_THAT(problems(), ElementsAre(at(GetParam(), "registry-z")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, TheFirstEventMovedBelowOneIsNamed) {
  tamper("UPDATE events SET position = 0 WHERE position = 1");

  EXPECT_THAT(problems(), Contains(at(0, "registry-a")));
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, AnEventOfAnUnknownTypeIsRefusedByReplayAndShownByHistory) {
  tamper("UPDATE events SET type = 'Unheard' WHERE position = 9");
  recompute_hash(9);

  EXPECT_TRUE(manager_.verify().ok());
  EXPECT_EQ(manager_.history().back().type, "Unheard");
  expect_replay_refused_and_nothing_changed();
}

TEST_F(Tampering, HistoryStillShowsAnAlteredEventAsItStands) {
  tamper("UPDATE events SET payload = 'no JSON' WHERE position = 5");

  const auto history = manager_.history();

  ASSERT_EQ(history.size(), 9U);
  EXPECT_EQ(history[4].payload, "no JSON");
  EXPECT_EQ(history[4].effect, RowEffect::none);
}

}  // namespace
}  // namespace dbcache
