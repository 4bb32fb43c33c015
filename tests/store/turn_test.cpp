#include "store/sqlite/turn.hpp"

#include <gtest/gtest.h>

#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store::sqlite {
namespace {

class TurnTest : public ::testing::Test {
 protected:
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

TEST_F(TurnTest, WhoWasWokenInVainIsGivenWayTo) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();

  EXPECT_FALSE(first_.try_take());
  EXPECT_TRUE(second_.try_take());
}

TEST_F(TurnTest, WhoGaveWayOnceWaitsLikeTheOthers) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  ASSERT_FALSE(first_.try_take());

  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, WhoStopsWaitingIsNoLongerGivenWayTo) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  second_.leave();

  EXPECT_TRUE(first_.try_take());
}

TEST_F(TurnTest, OnceNobodyStarvesWhoIsThereTakesItAgain) {
  ASSERT_TRUE(first_.try_take());
  ASSERT_FALSE(second_.try_take());
  ASSERT_FALSE(second_.try_take());
  first_.leave();
  ASSERT_TRUE(second_.try_take());
  second_.leave();

  EXPECT_TRUE(first_.try_take());
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

}  // namespace
}  // namespace dbcache::store::sqlite
