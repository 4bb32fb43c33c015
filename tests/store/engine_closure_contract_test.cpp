// A closed log refuses every event from every engine, until it is opened again.

#include "engine_log_contract.hpp"
#include "support/errors.hpp"

namespace dbcache::store {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

class EngineClosure : public EngineLogContract {
 protected:
  const ClosedLog away_{Moving::away, "the other's \xC3\xA4"};

  void close(const ClosedLog& closed) const {
    write(*engine_, [&](WriteSession& session) { session.log.close(closed); });
  }
  [[nodiscard]] std::optional<ClosedLog> closed() const {
    std::optional<ClosedLog> found;
    open()->read(std::nullopt, [&](const ReadSession& session) { found = session.log.closed(); });
    return found;
  }
  [[nodiscard]] std::string error_of_appending(const EventRecord& event) const {
    return test::error_of([&] {
      append({event});
      return 0;
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineClosure, engines(), engine_name);

TEST_P(EngineClosure, ANewLogIsOpen) {
  write(*engine_, [](WriteSession& session) { EXPECT_EQ(session.log.closed(), std::nullopt); });
  EXPECT_EQ(closed(), std::nullopt);
}

TEST_P(EngineClosure, AClosedLogTellsWhyAndRefusesEveryAppend) {
  append({record(1, "registry-a", 1)});
  const auto other = open();
  EXPECT_TRUE(other->read(std::nullopt, [](const ReadSession&) {}));

  close(away_);

  EXPECT_EQ(closed(), away_);
  EXPECT_EQ(error_of_appending(record(2, "registry-a", 2)),
            "DatabaseMoved: " + refusal(away_, engine_->name()));
  // One that was open before, too.
  EXPECT_THROW(write(*other, [](WriteSession& s) { s.log.append(record(2, "registry-a", 2)); }),
               DatabaseMoved);
  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineClosure, WhatARefusedTransactionWroteIsUndone) {
  close(away_);

  EXPECT_THROW(write(*engine_,
                     [](WriteSession& session) {
                       CachedCluster row;
                       row.id = 1;
                       row.cluster_id = "c";
                       session.tables.put(row);
                       session.log.append(record(1, "cluster-c", 1));
                     }),
               DatabaseMoved);

  engine_->read(std::nullopt, [](const ReadSession& session) {
    EXPECT_EQ(session.tables.cluster("c"), std::nullopt);
  });
}

TEST_P(EngineClosure, AClosedLogIsReadWhereOneWritesToo) {
  close(away_);

  write(*engine_, [&](WriteSession& session) {
    EXPECT_EQ(session.log.closed(), away_);
    EXPECT_EQ(session.log.last_position(), 0);
  });
}

TEST_P(EngineClosure, ALogIsClosedOnceItsTransactionIsCommitted) {
  struct Mine {};
  EXPECT_THROW(write(*engine_,
                     [&](WriteSession& session) {
                       session.log.close(away_);
                       throw Mine{};
                     }),
               Mine);

  append({record(1, "registry-a", 1)});

  EXPECT_EQ(closed(), std::nullopt);
}

TEST_P(EngineClosure, TheTransactionThatClosesALogIsRefusedToo) {
  EXPECT_THROW(write(*engine_,
                     [&](WriteSession& session) {
                       session.log.close(away_);
                       session.log.append(record(1, "registry-a", 1));
                     }),
               DatabaseMoved);

  EXPECT_EQ(closed(), std::nullopt);
}

TEST_P(EngineClosure, AnOpenedLogTakesEventsAgain) {
  close(away_);

  write(*engine_, [](WriteSession& session) { session.log.open(); });

  append({record(1, "registry-a", 1)});
  EXPECT_EQ(closed(), std::nullopt);
  EXPECT_THAT(positions(), ElementsAre(1));
}

TEST_P(EngineClosure, OpeningAnOpenLogChangesNothing) {
  write(*engine_, [](WriteSession& session) { session.log.open(); });

  EXPECT_EQ(closed(), std::nullopt);
}

TEST_P(EngineClosure, WhatIsAppendedBetweenOpeningAndClosingIsCommittedClosed) {
  close({Moving::in, "other"});

  write(*engine_, [](WriteSession& session) {
    session.log.open();
    session.log.append(record(1, "registry-a", 1));
    session.log.close({Moving::in, "other"});
  });

  EXPECT_THAT(positions(), ElementsAre(1));
  EXPECT_EQ(closed(), (ClosedLog{Moving::in, "other"}));
  EXPECT_THAT(error_of_appending(record(2, "registry-a", 2)), StartsWith("DatabaseMoved: "));
}

TEST_P(EngineClosure, AClosureTakesThePlaceOfTheOneBefore) {
  close(away_);

  close({Moving::gone, "another"});

  EXPECT_EQ(closed(), (ClosedLog{Moving::gone, "another"}));
}

TEST_P(EngineClosure, NewEventsComeBehindThoseThatWereTakenInAsTheyAre) {
  write(*engine_, [](WriteSession& session) {
    session.log.append(record(3, "registry-a", 1));
    session.log.append(record(9, "registry-a", 2));
  });

  write(*engine_, [](WriteSession& session) {
    EXPECT_GT(session.log.begin_append({"registry-a"}, 1).position, 9);
  });
}

TEST_P(EngineClosure, GapsAreAllowedUpToWhereItWasSaid) {
  write(*engine_, [](WriteSession& session) { session.log.set_gaps_until(7); });

  open()->read(std::nullopt,
               [](const ReadSession& session) { EXPECT_GE(session.log.gaps_until(), 7); });
}

TEST_P(EngineClosure, ADatabaseIsTheSameByEveryEngineOnIt) {
  EXPECT_EQ(engine_->identity(), std::nullopt);
  EXPECT_TRUE(place_->is_untouched());
  append({record(1, "registry-a", 1)});

  ASSERT_TRUE(engine_->identity().has_value());
  EXPECT_EQ(open()->identity(), engine_->identity());
}

TEST_P(EngineClosure, TwoDatabasesAreNotTheSame) {
  append({record(1, "registry-a", 1)});
  const auto elsewhere = GetParam().new_place();
  Options options;
  options.database = elsewhere->database();
  const auto other = open_engine(
      options, [](WriteSession&, const rows::DocumentedRows&) { return AdoptionReport{}; });
  write(*other, [](WriteSession&) {});

  EXPECT_NE(other->identity(), engine_->identity());
}

}  // namespace
}  // namespace dbcache::store
