#include "cli/wait_line.hpp"

#include <sstream>

#include <gmock/gmock.h>

namespace dbcache::cli {
namespace {

using namespace std::chrono_literals;

const Timestamp wait_began = parse_timestamp("2026-01-15T10:30:00");

class WaitLineTest : public ::testing::Test {
 protected:
  Terminal terminal(bool err_is_terminal) {
    return {.in = in_,
            .out = out_,
            .err = err_,
            .in_is_terminal = false,
            .out_is_terminal = false,
            .err_is_terminal = err_is_terminal,
            .no_color = false,
            .clock = [] { return wait_began + 3s; },
            .parent_pid = 1};
  }
  static WaitProgress progress(WaitProgress::For waits_for, const std::string& doing = "") {
    WaitProgress progress;
    progress.waits_for = waits_for;
    progress.holder.pid = 7;
    progress.holder.host = "ci-1";
    progress.since = wait_began;
    progress.waited = 3s;
    progress.doing = doing;
    return progress;
  }
  /// What is shown, and then erased.
  std::string shown(const WaitProgress& what) {
    Terminal here = terminal(true);
    WaitLine(here).show(what);
    return err_.str();
  }
  static std::string drawn(const std::string& line) { return "\r\x1b[K" + line + "\r\x1b[K"; }

  std::istringstream in_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(WaitLineTest, ShowsTheCreator) {
  EXPECT_EQ(shown(progress(WaitProgress::For::creator)),
            drawn("waiting: pid 7 on ci-1 creates the cluster, for 3 s now (waited 3 s)"));
}

TEST_F(WaitLineTest, ShowsWhatTheClusterOfAnotherIsDoing) {
  EXPECT_EQ(shown(progress(WaitProgress::For::creator, "Finding instances for new nodes")),
            drawn("waiting: pid 7 on ci-1 creates the cluster: Finding instances for new nodes, "
                  "for 3 s now (waited 3 s)"));
}

TEST_F(WaitLineTest, ShowsWhatTheOwnClusterIsDoing) {
  EXPECT_EQ(shown(progress(WaitProgress::For::cluster, "Finding instances for new nodes")),
            drawn("creating the cluster: Finding instances for new nodes, for 3 s now (waited 3 "
                  "s)"));
}

TEST_F(WaitLineTest, ElsewhereThanOnATerminalIsALineForEachThingThatTheClusterDoes) {
  Terminal here = terminal(false);
  {
    WaitLine line(here);
    for (const char* doing : {"Finding instances", "Finding instances", "Starting Spark"}) {
      line.show(progress(WaitProgress::For::creator, doing));
    }
  }
  EXPECT_EQ(err_.str(),
            "dbcache: waiting: pid 7 on ci-1 creates the cluster: Finding instances\n"
            "dbcache: waiting: pid 7 on ci-1 creates the cluster: Starting Spark\n");
}

}  // namespace
}  // namespace dbcache::cli
