#include "engine_log_contract.hpp"

#include "support/errors.hpp"

namespace dbcache::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class EngineLog : public EngineLogContract {};

INSTANTIATE_TEST_SUITE_P(Engines, EngineLog, engines(), engine_name);

TEST_P(EngineLog, ReadingAMissingDatabaseRunsNothingAndCreatesNothing) {
  bool ran = false;

  const bool exists = engine_->read(std::nullopt, [&](const ReadSession&) { ran = true; });

  EXPECT_FALSE(exists);
  EXPECT_FALSE(ran);
  EXPECT_TRUE(place_->is_untouched());
}

TEST_P(EngineLog, AskingForAMissingDatabasesFactsCreatesNothing) {
  EXPECT_FALSE(engine_->info().exists);
  EXPECT_TRUE(place_->is_untouched());
}

TEST_P(EngineLog, OptimizingAMissingDatabaseCreatesNothing) {
  engine_->optimize(Vacuum::yes);

  EXPECT_TRUE(place_->is_untouched());
}

TEST_P(EngineLog, AWriteCreatesTheDatabase) {
  write(*engine_, [](WriteSession&) {});

  EXPECT_TRUE(engine_->info().exists);
  EXPECT_TRUE(engine_->read(std::nullopt, [](const ReadSession&) {}));
}

TEST_P(EngineLog, ANewLogIsEmpty) {
  write(*engine_, [](WriteSession& session) {
    EXPECT_EQ(session.log.last_position(), 0);
    const AppendPoint point = session.log.begin_append({"registry-h"}, 1);
    EXPECT_EQ(point.position, 1);
    EXPECT_EQ(point.ends.at(0).version, 0);
    EXPECT_EQ(point.ends.at(0).hash, "");
    EXPECT_THAT(session.log.read(0, 10), IsEmpty());
  });
}

TEST_P(EngineLog, AnAppendedEventReadsByteForByte) {
  EventRecord event = record(1, "cluster-\xE2\x82\xAC 'quoted\"", 1);
  event.payload = "{\"schema\":1,\"text\":\"\\u0000 \xF0\x9F\x98\x80 'x'\"}  ";
  event.metadata = "{ }";
  event.recorded_at = -1;
  event.command_id = std::string("\0\x01\xFF\0 binary bytes", 16);
  event.hash = std::string(31, '\0') + "\x80";

  append({event});

  engine_->read(std::nullopt, [&](const ReadSession& session) {
    const auto read = session.log.read(0, 10);
    ASSERT_EQ(read.size(), 1U);
    EXPECT_EQ(read[0].position, event.position);
    EXPECT_EQ(read[0].stream, event.stream);
    EXPECT_EQ(read[0].version, event.version);
    EXPECT_EQ(read[0].type, event.type);
    EXPECT_EQ(read[0].payload, event.payload);
    EXPECT_EQ(read[0].metadata, event.metadata);
    EXPECT_EQ(read[0].recorded_at, event.recorded_at);
    EXPECT_EQ(read[0].command_id, event.command_id);
    EXPECT_EQ(read[0].hash, event.hash);
  });
}

TEST_P(EngineLog, ATransactionSeesWhatItAppended) {
  write(*engine_, [](WriteSession& session) {
    session.log.append(record(1, "registry-h", 1));

    EXPECT_EQ(session.log.last_position(), 1);
    const AppendPoint point = session.log.begin_append({"registry-h", "registry-i"}, 1);
    EXPECT_EQ(point.ends.at(0).version, 1);
    EXPECT_EQ(point.ends.at(0).hash, std::string(32, 'h'));
    EXPECT_EQ(point.ends.at(1).version, 0);
  });
}

TEST_P(EngineLog, ReadsPagesInOrderOfPosition) {
  append({record(1, "registry-a", 1), record(2, "registry-b", 1), record(3, "registry-a", 2),
          record(4, "registry-b", 2)});

  EXPECT_THAT(positions(0, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(positions(3, 3), ElementsAre(4));
  EXPECT_THAT(positions(4, 3), IsEmpty());
}

TEST_P(EngineLog, ReadsPagesOfOneStreamInOrderOfVersion) {
  append({record(1, "registry-a", 1), record(2, "registry-ab", 1), record(3, "registry-a", 2),
          record(4, "registry-a", 3)});

  const auto versions = [&](std::int64_t after, std::size_t limit) {
    std::vector<std::int64_t> found;
    engine_->read(std::nullopt, [&](const ReadSession& session) {
      for (const EventRecord& event : session.log.read_stream("registry-a", after, limit)) {
        EXPECT_EQ(event.stream, "registry-a");
        found.push_back(event.version);
      }
    });
    return found;
  };
  EXPECT_THAT(versions(0, 2), ElementsAre(1, 2));
  EXPECT_THAT(versions(2, 2), ElementsAre(3));
  EXPECT_THAT(versions(3, 2), IsEmpty());
}

TEST_P(EngineLog, TheEndOfAStreamIsItsHighestVersion) {
  EventRecord second = record(3, "registry-a", 2);
  second.hash = std::string(32, 'z');
  append({record(1, "registry-a", 1), record(2, "registry-b", 1), second});

  write(*engine_, [](WriteSession& session) {
    EXPECT_EQ(session.log.last_position(), 3);
    const AppendPoint point = session.log.begin_append({"registry-b", "registry-a"}, 2);
    EXPECT_GT(point.position, 3);
    EXPECT_EQ(point.ends.at(0).version, 1);
    EXPECT_EQ(point.ends.at(1).version, 2);
    EXPECT_EQ(point.ends.at(1).hash, std::string(32, 'z'));
  });
}

TEST_P(EngineLog, RefusesAPositionThatIsTaken) {
  append({record(1, "registry-a", 1)});

  const std::string error = test::error_of([&] {
    append({record(1, "registry-b", 1)});
    return 0;
  });

  EXPECT_THAT(error, StartsWith("CorruptDatabase: "));
  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineLog, RefusesAVersionThatIsTaken) {
  append({record(1, "registry-a", 1)});

  const std::string error = test::error_of([&] {
    append({record(2, "registry-a", 1)});
    return 0;
  });

  EXPECT_THAT(error, StartsWith("CorruptDatabase: "));
  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineLog, ARefusedEventTakesItsWholeTransactionAlong) {
  append({record(1, "registry-a", 1)});

  EXPECT_THROW(append({record(2, "registry-a", 2), record(2, "registry-b", 1)}), CorruptDatabase);

  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineLog, ATransactionThatThrowsLeavesNothingAndPassesTheExceptionOn) {
  struct Mine {};
  append({record(1, "registry-a", 1)});

  EXPECT_THROW(write(*engine_,
                     [](WriteSession& session) {
                       session.log.append(record(2, "registry-a", 2));
                       CachedCluster row;
                       row.id = 2;
                       row.cluster_id = "c";
                       session.tables.put(row);
                       throw Mine{};
                     }),
               Mine);

  EXPECT_THAT(positions(), ElementsAre(1));
  engine_->read(std::nullopt, [](const ReadSession& session) {
    EXPECT_EQ(session.tables.cluster("c"), std::nullopt);
  });
}

TEST_P(EngineLog, GoesOnAfterATransactionThatThrew) {
  EXPECT_THROW(write(*engine_, [](WriteSession&) { throw NotFound("nothing"); }), NotFound);

  append({record(1, "registry-a", 1)});

  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineLog, AnExceptionOfAReadIsPassedOn) {
  append({record(1, "registry-a", 1)});

  EXPECT_THROW(engine_->read(std::nullopt, [](const ReadSession&) { throw NotFound("nothing"); }),
               NotFound);

  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineLog, AReadSeesOneConsistentView) {
  append({record(1, "registry-a", 1)});
  const auto other = open();

  engine_->read(std::nullopt, [&](const ReadSession& session) {
    EXPECT_EQ(session.log.last_position(), 1);
    write(*other, [](WriteSession& writer) { writer.log.append(record(2, "registry-a", 2)); });
    EXPECT_EQ(session.log.last_position(), 1);
  });

  EXPECT_THAT(positions(), ElementsAre(1, 2));
}

TEST_P(EngineLog, WhatOneEngineCommitsAnotherReads) {
  const auto other = open();
  append({record(1, "registry-a", 1)});

  write(*other, [](WriteSession& session) {
    EXPECT_EQ(session.log.last_position(), 1);
    session.log.append(record(2, "registry-a", 2));
  });

  EXPECT_THAT(positions(), ElementsAre(1, 2));
}

TEST_P(EngineLog, WhoHasSeenNoDatabaseWaitsForAStreamOfALaterOneToo) {
  Options impatient = options();
  impatient.busy_timeout = std::chrono::milliseconds{50};
  const auto early = open(impatient);
  ASSERT_FALSE(early->read(std::nullopt, [](const ReadSession&) {}));
  append({record(1, "registry-h", 1)});

  const auto begin = [](WriteSession& session) {
    static_cast<void>(session.log.begin_append({"registry-h"}, 1));
    return Sync::as_configured;
  };
  engine_->write(
      std::nullopt,
      [&](WriteSession& session) {
        begin(session);
        EXPECT_THROW(early->write(std::nullopt, begin, Engine::Grouping::grouped,
                                  Engine::LockScope::streams),
                     Busy);
        return Sync::as_configured;
      },
      Engine::Grouping::grouped, Engine::LockScope::streams);
}

TEST_P(EngineLog, NamesTheRegistryStreamsOfACluster) {
  const auto naming = [](std::int64_t position, std::string stream, std::int64_t version,
                         std::string type, std::string cluster) {
    EventRecord event = record(position, std::move(stream), version);
    event.type = std::move(type);
    event.payload = "{\"schema\":1,\"cluster_id\":" + cluster + "}";
    return event;
  };
  append({naming(1, "registry-a", 1, "RegistryStatusChanged", "\"c-1\""),
          naming(2, "registry-a", 2, "RegistryStatusChanged", "\"c-1\""),
          naming(3, "registry-b", 1, "EntryImported", "\"c-1\""),
          naming(4, "registry-c", 1, "RegistryStatusChanged", "\"c-2\""),
          naming(5, "registry-d", 1, "RegistryStatusChanged", "null"),
          naming(6, "cluster-c-1", 1, "ClusterCached", "\"c-1\"")});

  engine_->read(std::nullopt, [](const ReadSession& session) {
    EXPECT_THAT(session.log.streams_naming("c-1"),
                UnorderedElementsAre("registry-a", "registry-b"));
    EXPECT_THAT(session.log.streams_naming("c-3"), IsEmpty());
  });
}

TEST_P(EngineLog, WorksAtTheTimeItIsGiven) {
  const Timestamp given = parse_timestamp("2001-02-03T04:05:06.000007");
  Timestamp written{};
  Timestamp read{};

  engine_->write(given, [&](WriteSession& session) {
    written = session.now;
    return Sync::as_configured;
  });
  engine_->read(given, [&](const ReadSession& session) { read = session.now; });

  EXPECT_EQ(written, given);
  EXPECT_EQ(read, given);
}

TEST_P(EngineLog, WorksByItsOwnClockWhereNoTimeIsGiven) {
  write(*engine_, [](WriteSession&) {});
  const Timestamp before = engine_->now();
  Timestamp written{};
  Timestamp read{};

  write(*engine_, [&](WriteSession& session) { written = session.now; });
  engine_->read(std::nullopt, [&](const ReadSession& session) { read = session.now; });

  EXPECT_LE(before, written);
  EXPECT_LE(written, read);
  EXPECT_LE(read, engine_->now());
}

TEST_P(EngineLog, OptimizingKeepsEverything) {
  append({record(1, "registry-a", 1), record(2, "registry-a", 2)});

  engine_->optimize(Vacuum::no);
  engine_->optimize(Vacuum::yes);

  EXPECT_THAT(positions(), ElementsAre(1, 2));
}

TEST_P(EngineLog, AdoptsNothingInADatabaseOfItsOwn) {
  append({record(1, "registry-a", 1)});

  EXPECT_FALSE(engine_->adoption().has_value());
  EXPECT_FALSE(open()->adoption().has_value());
}

}  // namespace
}  // namespace dbcache::store
