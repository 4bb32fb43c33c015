#include "store/sqlite/turn.hpp"

#include <gtest/gtest.h>

#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/refused_call.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store::sqlite {
namespace {

/// Three that write one database, each as a process of its own would.
class TurnTest : public ::testing::Test {
 protected:
  TurnTest() {
    for (Turn* const turn : {&first_, &second_, &third_}) turn->wake_by(share());
  }

  [[nodiscard]] std::shared_ptr<SharedState> share() const {
    if (!std::filesystem::exists(path_)) test::write_bytes(path_, "the database");
    const auto status = test::status_of(path_);
    return SharedState::open(path_, {status.st_dev, status.st_ino});
  }
  /// As the engine does.
  static void wait_for(Turn& turn) {
    while (!turn.try_take()) turn.pause().sleep(std::chrono::hours{1});
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  Turn first_{path_};
  Turn second_{path_};
  Turn third_{path_};
};

TEST_F(TurnTest, OnlyOneHasIt) {
  EXPECT_TRUE(first_.try_take());
  EXPECT_FALSE(second_.try_take());

  first_.leave();

  EXPECT_TRUE(second_.try_take());
}

TEST_F(TurnTest, WhoIsThereTakesItBeforeOneWhoIsOnlyJustWoken) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();

  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, WhoIsFirstInLineIsPassedByOneAtMost) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  ASSERT_TRUE(first_.try_take());
  first_.leave();

  EXPECT_FALSE(first_.try_take());
  EXPECT_FALSE(third_.try_take());
  EXPECT_TRUE(second_.try_take());
}

TEST_F(TurnTest, TheNextInLineMayBePassedByOneAgain) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(third_.try_take());
  first_.leave();
  ASSERT_TRUE(first_.try_take());
  first_.leave();
  ASSERT_TRUE(second_.try_take());
  second_.leave();

  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, TheLineIsServedInOrder) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(third_.try_take());
  first_.leave();

  EXPECT_FALSE(third_.try_take());
  EXPECT_TRUE(second_.try_take());
  second_.leave();
  EXPECT_TRUE(third_.try_take());
}

TEST_F(TurnTest, WhoStopsWaitingIsNoLongerInTheLine) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(third_.try_take());
  second_.leave();
  first_.leave();

  EXPECT_TRUE(third_.try_take());
}

TEST_F(TurnTest, OnceTheLineIsEmptyWhoIsThereTakesItAgain) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  ASSERT_TRUE(second_.try_take());
  second_.leave();

  ASSERT_TRUE(first_.try_take());
  first_.leave();
  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, WhoDoesNotComeIsPassedOverAndTakesItWhenHeComes) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(third_.try_take());
  first_.leave();

  wait_for(third_);
  third_.leave();

  EXPECT_TRUE(second_.try_take());
}

TEST_F(TurnTest, ManyWhoWereKilledInLineHoldNobodyUp) {
  ASSERT_TRUE(first_.try_take());
  for (int killed = 0; killed < 40; ++killed) {
    test::ChildProcess child([&] {
      Turn turn(path_);
      turn.wake_by(share());
      static_cast<void>(turn.try_take());
      return ::raise(SIGKILL);
    });
    ASSERT_EQ(child.wait(), -SIGKILL);
  }
  ASSERT_FALSE(second_.try_take());
  first_.leave();

  wait_for(second_);
  second_.leave();
  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, NumbersThatMakeNoSenseHoldNobodyUp) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  share()->words().first_in_line -= 0x70000000;

  wait_for(second_);
  second_.leave();
  wait_for(first_);
}

TEST_F(TurnTest, AForkedChildLeavesItsParentInLine) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  test::ChildProcess child([&] {
    first_.close_in_child();
    second_.close_in_child();
    return 0;
  });
  ASSERT_EQ(child.wait(), 0);

  EXPECT_FALSE(third_.try_take());
  first_.leave();
  EXPECT_FALSE(third_.try_take());
  EXPECT_TRUE(second_.try_take());
}

TEST_F(TurnTest, WithoutSharedStateThereIsNoLine) {
  Turn fourth(path_);
  Turn fifth(path_);
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(fourth.try_take());
  ASSERT_FALSE(fifth.try_take());
  first_.leave();

  EXPECT_TRUE(fifth.try_take());
}

TEST_F(TurnTest, ClosingStopsWaitingAndLetsGo) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());

  second_.close();
  first_.close();

  EXPECT_TRUE(third_.try_take());
}

TEST_F(TurnTest, AHolderThatIsKilledHasLetGo) {
  test::Pipe taken;
  test::ChildProcess holder([&] {
    static_cast<void>(Turn(path_).try_take());
    Turn turn(path_);
    static_cast<void>(turn.try_take());
    taken.signal();
    for (;;) ::pause();
    return 0;
  });
  ASSERT_TRUE(taken.wait());
  ASSERT_FALSE(first_.try_take());

  holder.kill(SIGKILL);
  ASSERT_EQ(holder.wait(), -SIGKILL);

  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, WhereTheFileCannotBeUsedEveryoneHasIt) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  test::write_bytes(path_ + "-turn", "");
  std::filesystem::permissions(path_ + "-turn", std::filesystem::perms(0));

  EXPECT_EQ(test::in_child_as_ordinary_user([&] {
              return Turn(path_).try_take() && Turn(path_).try_take() ? "taken" : "refused";
            }),
            "taken");
}

class TurnThatCannotBeLocked : public TurnTest, public ::testing::WithParamInterface<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Errors, TurnThatCannotBeLocked, ::testing::Values(ENOLCK, EINVAL, EPERM));

TEST_P(TurnThatCannotBeLocked, EveryoneHasIt) {
  EXPECT_EQ(test::in_child([&] {
              test::refuse_fcntl(F_OFD_SETLK, GetParam());
              return first_.try_take() && second_.try_take() ? "taken" : "refused";
            }),
            "taken");
}

TEST_P(TurnThatCannotBeLocked, EveryoneInLineHasIt) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(third_.try_take());

  EXPECT_EQ(test::in_child([&] {
              test::refuse_fcntl(F_OFD_SETLK, GetParam());
              const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes{1};
              while (!third_.try_take()) {
                if (std::chrono::steady_clock::now() > give_up) return "refused";
                third_.pause().sleep(std::chrono::seconds{1});
              }
              third_.leave();
              return second_.try_take() ? "taken" : "refused";
            }),
            "taken");
}

}  // namespace
}  // namespace dbcache::store::sqlite
