// A move that ends early leaves at most one database open, and can be resumed or cancelled.

#include <gmock/gmock.h>

#include "store/move_contract.hpp"
#include "support/errors.hpp"

namespace dbcache::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class InterruptedMove : public MoveContract {
 protected:
  InterruptedMove() { fill(from_); }

  struct Interrupted {};

  /// Ends the move after so many transactions.
  void interrupt(int after) const {
    Store source(from_);
    Store target(to_);
    const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                          if (--after == 0) throw Interrupted{};
                                        }};
    EXPECT_THROW(coordination::move(source, target, {}, steps), Interrupted);
  }
  /// How many a move has: two to close, the pages, the tables, one to give up and one to open.
  [[nodiscard]] int transactions() const {
    return 2 + static_cast<int>((CacheManager(from_).get_database_info().events + 9) / 10) + 3;
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, InterruptedMove, engine_pairs(), pair_name);

TEST_P(InterruptedMove, NeverLeavesBothDatabasesOpenAndCanAlwaysBeGoneOnWith) {
  const int all = transactions();
  for (int after = 1; after <= all; ++after) {
    begin_anew();
    fill(from_);
    const auto before = contents_of(from_);

    interrupt(after);

    EXPECT_NE(closed(from_), std::nullopt) << after;
    EXPECT_EQ(closed(to_).has_value(), after > 1 && after < all) << after;
    EXPECT_EQ(move(from_, to_).was_moved_before, after == all) << after;
    EXPECT_EQ(contents_of(to_), before) << after;
    EXPECT_EQ(closed(to_), std::nullopt) << after;
  }
}

TEST_P(InterruptedMove, GoesOnWhereItWas) {
  const auto before = contents_of(from_);
  interrupt(3);  // both closed, and a page copied

  const MoveReport report = move(from_, to_);

  EXPECT_EQ(report.copied, report.head.events - 10);
  EXPECT_EQ(contents_of(to_), before);
}

TEST_P(InterruptedMove, ClosedDatabasesSayWhatToDo) {
  interrupt(3);

  EXPECT_THAT(closed(from_).value(), AllOf(HasSubstr("is being moved to"), HasSubstr("--cancel")));
  EXPECT_THAT(closed(to_).value(), HasSubstr("is being moved into it"));
  EXPECT_THAT(error_of_moving(to_, from_), StartsWith("DatabaseMoved: "));
}

TEST_P(InterruptedMove, GoesNowhereElse) {
  interrupt(3);
  const auto third = std::get<1>(GetParam()).new_place();

  EXPECT_THAT(error_of_moving(from_, at(*third)), StartsWith("DatabaseMoved: "));

  EXPECT_TRUE(third->is_untouched());
}

TEST_P(InterruptedMove, CanBeCancelled) {
  interrupt(3);

  EXPECT_TRUE(dbcache::cancel_move(from_));

  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_NE(closed(to_), std::nullopt);
  CacheManager(from_).cache_new_cluster("cluster-3");
  EXPECT_FALSE(dbcache::cancel_move(from_));
  // And gone on with later, from where it was.
  move(from_, to_);
  EXPECT_EQ(contents_of(to_), contents_of(from_));
}

TEST_P(InterruptedMove, CanBeCancelledUntilTheOldDatabaseIsGivenUp) {
  interrupt(transactions() - 2);
  EXPECT_TRUE(dbcache::cancel_move(from_));
  interrupt(4);  // closed again, its tables written, given up

  EXPECT_THAT(test::error_of([&] { return dbcache::cancel_move(from_); }),
              StartsWith("DatabaseMoved: "));

  EXPECT_NE(closed(to_), std::nullopt);
  EXPECT_FALSE(move(from_, to_).was_moved_before);
  EXPECT_EQ(closed(to_), std::nullopt);
}

TEST_P(InterruptedMove, CancelledBehindItsBackItDoesNotGiveTheOldDatabaseUp) {
  Store source(from_);
  Store target(to_);
  int committed = 0;
  const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                        if (++committed == 3) coordination::cancel_move(source);
                                      }};

  EXPECT_THAT(test::error_of([&] { return coordination::move(source, target, {}, steps); }),
              AllOf(StartsWith("Busy: "), HasSubstr("was cancelled")));

  EXPECT_EQ(closed(from_), std::nullopt);
  EXPECT_NE(closed(to_), std::nullopt);
}

TEST_P(InterruptedMove, TwoThatRunAtOnceComeToTheSame) {
  const int all = transactions();
  for (int when = 1; when <= all; ++when) {
    begin_anew();
    fill(from_);
    const auto before = contents_of(from_);
    Store source(from_);
    Store target(to_);
    int committed = 0;
    // One has its way in the middle of the other.
    const coordination::MoveSteps steps{.page = 10, .committed = [&] {
                                          if (++committed == when) move(from_, to_);
                                        }};

    const std::string error =
        test::error_of([&] { return coordination::move(source, target, {}, steps); });

    EXPECT_THAT(error, ::testing::AnyOf("", StartsWith("Busy: "))) << when;
    EXPECT_TRUE(move(from_, to_).was_moved_before) << when;
    EXPECT_EQ(contents_of(to_), before) << when;
  }
}

TEST_P(InterruptedMove, ATargetWithEventsOfItsOwnIsNotGoneOnWith) {
  interrupt(3);
  write(Store(to_).engine(), [](WriteSession& session) {
    const auto closed = session.log.closed();
    session.log.open();
    session.log.append(record(session.log.last_position() + 1, "registry-h", 1));
    session.log.close(closed.value());
  });

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("InvalidArgument: "), HasSubstr("does not have")));
}

TEST_P(InterruptedMove, ATargetThatIsLostAfterwardsIsNotMadeAnew) {
  move(from_, to_);
  const auto before = contents_of(from_);
  to_place_ = nullptr;

  EXPECT_THAT(error_of_moving(from_, to_),
              AllOf(StartsWith("CorruptDatabase: "), HasSubstr("restore ")));

  EXPECT_EQ(contents_of(from_), before);
}

}  // namespace
}  // namespace dbcache::store
