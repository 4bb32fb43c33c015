#include "cli/progress_bar.hpp"

#include <sstream>

#include <gmock/gmock.h>

namespace dbcache::cli {
namespace {

using namespace std::chrono_literals;

class ProgressBarTest : public ::testing::Test {
 protected:
  Terminal terminal(bool err_is_terminal) {
    return {.in = in_,
            .out = out_,
            .err = err_,
            .in_is_terminal = false,
            .out_is_terminal = false,
            .err_is_terminal = err_is_terminal,
            .no_color = false,
            .clock = {},
            .parent_pid = 1};
  }
  ProgressBar::Now clock() {
    return [this] { return now_; };
  }
  std::string shown() { return err_.str(); }

  std::istringstream in_;
  std::ostringstream out_;
  std::ostringstream err_;
  std::chrono::steady_clock::time_point now_{};
};

TEST_F(ProgressBarTest, AShortPassShowsNoBar) {
  Terminal here = terminal(true);
  {
    ProgressBar bar(here, clock());
    now_ += 499ms;
    bar.show({50, 100});
  }
  EXPECT_EQ(shown(), "");
}

TEST_F(ProgressBarTest, ALongPassShowsABarThatIsErasedAtTheEnd) {
  Terminal here = terminal(true);
  {
    ProgressBar bar(here, clock());
    now_ += 500ms;
    bar.show({50, 200});
    EXPECT_EQ(shown(), "\r\x1b[K[#######                       ]  25%  50 of 200 events");
    err_.str("");
  }
  EXPECT_EQ(shown(), "\r\x1b[K");
}

TEST_F(ProgressBarTest, TheBarIsRedrawnAtMostTenTimesASecond) {
  Terminal here = terminal(true);
  ProgressBar bar(here, clock());
  now_ += 500ms;
  bar.show({50, 200});
  err_.str("");
  now_ += 50ms;
  bar.show({60, 200});
  EXPECT_EQ(shown(), "");
  now_ += 50ms;
  bar.show({70, 200});
  EXPECT_THAT(shown(), ::testing::HasSubstr("70 of 200 events"));
}

TEST_F(ProgressBarTest, TheBarStaysWithinItsBoundsWhenEventsAreAdded) {
  Terminal here = terminal(true);
  ProgressBar bar(here, clock());
  now_ += 500ms;
  bar.show({300, 200});
  EXPECT_THAT(shown(), ::testing::HasSubstr("[##############################] 100%"));
}

TEST_F(ProgressBarTest, WithoutATerminalThereIsNoBar) {
  Terminal here = terminal(false);
  {
    ProgressBar bar(here, clock());
    now_ += 10s;
    bar.show({50, 200});
  }
  EXPECT_EQ(shown(), "");
}

TEST_F(ProgressBarTest, AnEmptyLogShowsNoBar) {
  Terminal here = terminal(true);
  ProgressBar bar(here, clock());
  now_ += 10s;
  bar.show({0, 0});
  EXPECT_EQ(shown(), "");
}

}  // namespace
}  // namespace dbcache::cli
