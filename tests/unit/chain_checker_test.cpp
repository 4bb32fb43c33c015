// What a tampered log looks like to the one who checks its chain.

#include <gmock/gmock.h>

#include "store/chain.hpp"
#include "text/hex.hpp"

namespace dbcache::store {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

/// A log as it was written: each event follows the one before it in its stream.
class Log {
 public:
  Log& append(const std::string& stream, const std::string& payload) {
    EventRecord record;
    record.position = static_cast<std::int64_t>(events.size()) + 1;
    record.stream = stream;
    record.version = 1;
    std::string previous_hash;
    for (const EventRecord& before : events) {
      if (before.stream != stream) continue;
      record.version = before.version + 1;
      previous_hash = before.hash;
    }
    record.type = "ClusterAccessed";
    record.payload = payload;
    record.metadata = "{}";
    record.recorded_at = 1'768'473'000'000'000 + record.position;
    record.command_id = std::string(16, static_cast<char>(record.position));
    record.hash = chain_hash(record, previous_hash);
    events.push_back(record);
    return *this;
  }

  EventRecord& at(std::int64_t position) {
    return events.at(static_cast<std::size_t>(position - 1));
  }

  std::vector<EventRecord> events;
};

/// a1 b1 a2 b2 a3: two streams, their events in turn.
Log two_streams() {
  return Log().append("a", "1").append("b", "1").append("a", "2").append("b", "2").append("a", "3");
}

std::vector<LogProblem> check(const std::vector<EventRecord>& events) {
  ChainChecker checker;
  std::vector<LogProblem> problems;
  for (const EventRecord& event : events) {
    for (LogProblem& problem : checker.check(event)) problems.push_back(std::move(problem));
  }
  return problems;
}

auto of_stream(const std::string& stream, std::int64_t position, const std::string& what) {
  return AllOf(Field("stream", &LogProblem::stream, stream),
               Field("position", &LogProblem::position, position),
               Field("what", &LogProblem::what, HasSubstr(what)));
}

auto of_the_log(std::int64_t position, const std::string& what) {
  return of_stream("", position, what);
}

TEST(CheckingALog, FindsNothingInOneThatIsWhole) {
  EXPECT_THAT(check(two_streams().events), IsEmpty());
}

TEST(CheckingALog, FindsNothingInAnEmptyOne) { EXPECT_THAT(check({}), IsEmpty()); }

struct Alteration {
  const char* name;
  void (*alter)(EventRecord&);
};

class AnAlteredEvent : public testing::TestWithParam<Alteration> {};

TEST_P(AnAlteredEvent, IsNamed) {
  Log log = two_streams();
  GetParam().alter(log.at(3));
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("a", 3, "altered or replaced")));
}

INSTANTIATE_TEST_SUITE_P(
    Fields, AnAlteredEvent,
    testing::Values(Alteration{"Type", [](EventRecord& event) { event.type = "ClusterRemoved"; }},
                    Alteration{"Payload", [](EventRecord& event) { event.payload = "2 "; }},
                    Alteration{"Metadata", [](EventRecord& event) { event.metadata = "{ }"; }},
                    Alteration{"RecordedAt", [](EventRecord& event) { event.recorded_at += 1; }},
                    Alteration{"CommandId", [](EventRecord& event) { event.command_id[15] ^= 1; }},
                    Alteration{"Hash", [](EventRecord& event) { event.hash[31] ^= 1; }},
                    Alteration{"HashCutOff", [](EventRecord& event) { event.hash.clear(); }},
                    Alteration{"BytesMovedFromOneFieldToTheNext",
                               [](EventRecord& event) {
                                 event.payload = "";
                                 event.metadata = "2{}";
                               }}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(AnAlteredEvent, ThatIsTheFirstOfItsStreamIsNamedAlone) {
  Log log = two_streams();
  log.at(1).payload = "0";
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("a", 1, "it was altered or replaced")));
}

TEST(AnEventWithANewHashOfItsOwn, ShowsAtTheOneThatFollowsIt) {
  Log log = two_streams();
  log.at(3).payload = "forged";
  log.at(3).hash = chain_hash(log.at(3), log.at(1).hash);
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("a", 5, "version 2 before it")));
}

TEST(AnEventInAStreamThatIsNotItsOwn, BreaksBothStreams) {
  Log log = two_streams();
  log.at(3).stream = "b";
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("b", 3, "hash does not match its content"),
                                             of_stream("a", 5, "its version is 3")));
}

TEST(AnAlteredVersion, IsNamedWithTheOneThatWasToCome) {
  Log log = two_streams();
  log.at(3).version = 4;
  EXPECT_THAT(check(log.events),
              ElementsAre(of_stream("a", 3, "its version is 4, but 2 was expected")));
}

TEST(AnAlteredPosition, IsNoticedThoughPositionsStayGapless) {
  Log log = two_streams();
  std::swap(log.at(2).position, log.at(3).position);
  std::swap(log.at(2), log.at(3));
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("a", 2, "hash"), of_stream("b", 3, "hash")));
}

TEST(ADroppedEvent, ShowsAsAGapAndInItsStream) {
  Log log = two_streams();
  log.events.erase(log.events.begin() + 2);
  EXPECT_THAT(check(log.events),
              ElementsAre(of_the_log(3, "the event at position 3 is missing"),
                          of_stream("a", 5, "its version is 3, but 2 was expected")));
}

TEST(ADroppedEvent, ShowsAsAGapWhereItsStreamEndedWithIt) {
  Log log = two_streams();
  log.events.erase(log.events.begin() + 3);
  EXPECT_THAT(check(log.events), ElementsAre(of_the_log(4, "position 4 is missing")));
}

TEST(ADroppedFirstEvent, ShowsAsAGapFromTheStart) {
  Log log = two_streams();
  log.events.erase(log.events.begin());
  EXPECT_THAT(check(log.events), ElementsAre(of_the_log(1, "position 1 is missing"),
                                             of_stream("a", 3, "but 1 was expected")));
}

TEST(SeveralDroppedEvents, AreToldAsOneGap) {
  Log log = two_streams();
  log.events.erase(log.events.begin() + 1, log.events.begin() + 4);
  EXPECT_THAT(check(log.events),
              ElementsAre(of_the_log(2, "the events at positions 2 to 4 are missing"),
                          of_stream("a", 5, "")));
}

TEST(AGap, IsToldOnce) {
  Log log = Log().append("a", "1").append("b", "1").append("c", "1").append("d", "1");
  log.events.erase(log.events.begin() + 1);
  EXPECT_THAT(check(log.events), ElementsAre(of_the_log(2, "position 2 is missing")));
}

TEST(TwoGaps, AreBothTold) {
  Log log;
  for (const char* stream : {"a", "b", "c", "d", "e"}) log.append(stream, "1");
  log.events.erase(log.events.begin() + 3);
  log.events.erase(log.events.begin() + 1);
  EXPECT_THAT(check(log.events),
              ElementsAre(of_the_log(2, "2 is missing"), of_the_log(4, "4 is missing")));
}

TEST(ADroppedTail, DoesNotShow) {
  Log log = two_streams();
  log.events.pop_back();
  EXPECT_THAT(check(log.events), IsEmpty());
}

TEST(TwoEventsSwappedWithinAStream, AreNoticedAtTheFirst) {
  Log log = two_streams();
  std::swap(log.at(1).payload, log.at(3).payload);
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("a", 1, "altered or replaced")));
}

TEST(TwoEventsSwappedAcrossStreams, AreNoticedInBoth) {
  Log log = two_streams();
  std::swap(log.at(1).payload, log.at(4).payload);
  EXPECT_THAT(check(log.events),
              ElementsAre(of_stream("a", 1, "altered"), of_stream("b", 4, "altered")));
}

TEST(TwoEventsInEachOthersPlace, AreNoticedInBothStreams) {
  Log log = two_streams();
  std::swap(log.at(2), log.at(5));
  std::swap(log.at(2).position, log.at(5).position);
  EXPECT_THAT(check(log.events),
              ElementsAre(of_stream("a", 2, "its version is 3, but 2 was expected"),
                          of_stream("b", 4, "its version is 2, but 1 was expected")));
}

TEST(AReplacedEvent, OfAnotherLogIsNoticed) {
  Log log = two_streams();
  log.at(4) = Log().append("b", "x").append("c", "x").append("c", "x").append("b", "y").at(4);
  EXPECT_THAT(check(log.events), ElementsAre(of_stream("b", 4, "altered or replaced")));
}

class AnEventPutInBeforeTheFirst : public testing::TestWithParam<std::int64_t> {
 protected:
  /// The event of a stream of its own, before a log that is whole.
  [[nodiscard]] static std::vector<EventRecord> log_with(EventRecord forged) {
    Log log = two_streams();
    log.events.insert(log.events.begin(), std::move(forged));
    return log.events;
  }
  [[nodiscard]] static EventRecord forged() {
    EventRecord event = two_streams().at(1);
    event.position = GetParam();
    event.stream = "c";
    event.hash = chain_hash(event, "");
    return event;
  }
};

TEST_P(AnEventPutInBeforeTheFirst, IsNamedAndLeavesTheRestWhole) {
  EXPECT_THAT(check(log_with(forged())),
              ElementsAre(of_stream("c", GetParam(), "before the first event")));
}

TEST_P(AnEventPutInBeforeTheFirst, IsToldOnceThoughItsHashIsWrongToo) {
  EventRecord event = forged();
  event.hash.clear();
  EXPECT_THAT(check(log_with(event)), ElementsAre(of_stream("c", GetParam(), "")));
}

INSTANTIATE_TEST_SUITE_P(Positions, AnEventPutInBeforeTheFirst, testing::Values(0, -1, -5));

TEST(ABrokenStream, IsToldOnceHoweverManyOfItsEventsAreWrong) {
  Log log = two_streams();
  for (EventRecord& event : log.events) event.payload += "!";
  EXPECT_THAT(check(log.events),
              ElementsAre(of_stream("a", 1, "altered"), of_stream("b", 2, "altered")));
}

TEST(ABrokenStream, DoesNotHideWhatIsWrongWithAnother) {
  Log log = two_streams();
  log.at(1).payload = "!";
  log.at(4).payload = "!";
  EXPECT_THAT(check(log.events),
              ElementsAre(of_stream("a", 1, "altered"), of_stream("b", 4, "version 1 before it")));
}

TEST(CheckingALog, CountsEventsAndStreams) {
  ChainChecker checker;
  for (const EventRecord& event : two_streams().events) checker.check(event);
  EXPECT_EQ(checker.events(), 5);
  EXPECT_EQ(checker.streams(), 2);
}

// ---- The head

TEST(TheHead, OfAnEmptyLogIsTheHashOfNothing) {
  EXPECT_EQ(ChainChecker().head(),
            (LogHead{0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}));
}

TEST(TheHead, IsTheHashOverTheHashesInOrder) {
  ChainChecker checker;
  text::Sha256 hashes;
  for (const EventRecord& event : two_streams().events) {
    checker.check(event);
    hashes.update(event.hash);
  }
  EXPECT_EQ(checker.head(), (LogHead{5, text::to_hex(hashes.digest())}));
}

TEST(TheHead, IsAnotherWithoutTheLastEvent) {
  Log log = two_streams();
  ChainChecker whole;
  ChainChecker cut;
  for (const EventRecord& event : log.events) {
    whole.check(event);
    if (event.position < 5) cut.check(event);
  }
  EXPECT_NE(whole.head(), cut.head());
}

// ---- The hash itself

TEST(TheHashOfAnEvent, DependsOnTheOneBeforeIt) {
  const EventRecord event = two_streams().at(3);
  EXPECT_NE(chain_hash(event, ""), chain_hash(event, std::string(32, '\0')));
}

TEST(TheHashOfAnEvent, IsNotComputedFromTheHashThatStandsInIt) {
  EventRecord event = two_streams().at(1);
  const std::string hash = chain_hash(event, "");
  event.hash = "something else";
  EXPECT_EQ(chain_hash(event, ""), hash);
}

TEST(TheHashOfAnEvent, CoversItsPosition) {
  EventRecord event = two_streams().at(1);
  const std::string hash = chain_hash(event, "");
  event.position += 1;
  EXPECT_NE(chain_hash(event, ""), hash);
}

}  // namespace
}  // namespace dbcache::store
