#include <fstream>
#include <pty.h>

#include <gmock/gmock.h>

#include "cli/process/system_call.hpp"
#include "lease_test.hpp"

// `dbcache run` on a terminal: its Ctrl-C, and the line that says for whom it waits.
namespace dbcache::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

/// A session on a terminal of its own, in which a shell line is the foreground process.
class Session {
 public:
  explicit Session(const std::string& line) {
    int terminal = -1;
    pid_ = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid_ < 0) throw std::runtime_error("forkpty failed");
    if (pid_ == 0) {
      const std::string whole = "exec " + line;
      ::execl("/bin/sh", "sh", "-c", whole.c_str(), nullptr);
      ::_exit(test::ChildProcess::threw);
    }
    terminal_ = Descriptor(terminal);
  }
  ~Session() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void press_control_c() { EXPECT_EQ(::write(terminal_.number(), "\x03", 1), 1); }
  /// The terminal is gone, as when its window is closed or a connection breaks.
  void hang_up() { terminal_.close(); }
  /// Whether it ends within a moment.
  [[nodiscard]] bool ends_soon() const {
    const Descriptor process = open_process(pid_);
    std::array<pollfd, 1> ended{{{process.number(), POLLIN, 0}}};
    wait_for(ended, std::chrono::steady_clock::now() + std::chrono::seconds(5));
    return ended[0].revents != 0;
  }
  /// The exit code.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  /// What it has shown, until that holds `text`.
  std::string shown_until(const std::string& text) {
    std::array<char, 1024> buffer{};
    while (shown_.find(text) == std::string::npos) {
      const ssize_t got = ::read(terminal_.number(), buffer.data(), buffer.size());
      if (got <= 0) break;
      shown_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return shown_;
  }
  /// All of it, once it has ended.
  std::string all_shown() { return shown_until("\xff nothing shows this"); }

 private:
  pid_t pid_ = -1;
  Descriptor terminal_ = Descriptor();
  std::string shown_;
};

class TerminalTest : public LeaseTest {
 protected:
  static constexpr const char* run_command =
      "\"$dbcache\" run --config cluster.json --create 'echo cluster-1' -- sh -c ";
};

TEST_F(TerminalTest, ControlCReachesTheCommandOnce) {
  make_fifo("up");
  make_fifo("go");
  make_fifo("interrupted");
  // What runs beside the shell leaves interrupts alone, as it is in the background.
  Session session(std::string(run_command) +
                  "'sleep 1000 & trap \"echo got >>said.txt; kill $!\" INT; echo >up; wait; "
                  "echo >interrupted; read line <go; exit 5'");
  wait_on("up");
  session.press_control_c();
  wait_on("interrupted");
  let_go("go");
  EXPECT_EQ(session.wait(), 5);
  EXPECT_EQ(test::read_bytes("said.txt"), "got\n");
  EXPECT_EQ(leases(), no_leases);
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_F(TerminalTest, ControlCEndsACommandWithoutAHandler) {
  make_fifo("up");
  Session session(std::string(run_command) + "'echo >up; exec sleep 1000'");
  wait_on("up");
  session.press_control_c();
  EXPECT_EQ(session.wait(), 130);
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(TerminalTest, ASecondControlCKillsTheCommand) {
  make_fifo("up");
  Session session(std::string(run_command) + "'trap \"\" INT; echo >up; exec sleep 1000'");
  wait_on("up");
  // Two that come at once are one, so it is pressed until that was seen.
  do {
    session.press_control_c();
  } while (!session.ends_soon());
  EXPECT_EQ(session.wait(), 137);
  EXPECT_EQ(leases(), no_leases);
}

// The kernel tells the session's leader alone.
TEST_F(TerminalTest, AHangUpReachesTheCommandOfASessionLeader) {
  make_fifo("up");
  Session session(
      std::string(run_command) +
      "'sleep 1000 & trap \"echo got >said.txt; kill $!; exit 7\" HUP; echo >up; wait'");
  wait_on("up");
  session.hang_up();
  EXPECT_EQ(session.wait(), 7);
  EXPECT_EQ(test::read_bytes("said.txt"), "got\n");
  EXPECT_EQ(leases(), no_leases);
}

// The shell passes it on to its job, and as the shell ends the kernel tells the job again.
TEST_F(TerminalTest, AHangUpOfTheCallingShellLetsTheCommandCleanUp) {
  make_fifo("up");
  {
    std::ofstream("job.sh") << "exec " << run_command
                            << "'sleep 1000 & trap \"kill $!; echo got >said.txt; exit 7\" HUP; "
                               "echo >up; wait'\n";
  }
  Lifeline lifeline;
  Session session("bash -i -c 'set -m; sh job.sh; true'");
  lifeline.cut();
  wait_on("up");
  session.hang_up();
  session.wait();
  lifeline.wait();
  EXPECT_EQ(test::read_bytes("said.txt"), "got\n");
  EXPECT_EQ(leases(), no_leases);
}

TEST_F(TerminalTest, ControlCStopsTheCreation) {
  make_fifo("up");
  Session session(
      "\"$dbcache\" run --config cluster.json --create "
      "'trap \"echo int >said.txt; exit 1\" INT; sh -c \"echo >up; exec sleep 1000\" & wait' "
      "-- echo ran >ran.txt");
  wait_on("up");
  session.press_control_c();
  // The background process of the create command minds no interrupt; a second one kills all.
  do {
    session.press_control_c();
  } while (!session.ends_soon());
  EXPECT_EQ(session.wait(), 130);
  EXPECT_EQ(test::read_bytes("ran.txt"), "");
  EXPECT_EQ(leases(), no_leases);
  EXPECT_THAT(owed(), HasSubstr("  Creation Token: "));
}

TEST_F(TerminalTest, ALineShowsForWhichProcessItWaits) {
  make_fifo("up");
  make_fifo("go");
  auto creator = start(
      "\"$dbcache\" run --label nightly --config cluster.json "
      "--create 'echo >up; cat go; echo cluster-1' -- true");
  wait_on("up");
  Session waiter(std::string(run_command) + "'echo $DATABRICKS_CLUSTER_ID'");
  EXPECT_THAT(waiter.shown_until("(waited "),
              AllOf(HasSubstr("\r\x1b[Kwaiting: pid " + std::to_string(creator.pid()) + " on "),
                    HasSubstr(", label nightly creates the cluster, for ")));
  let_go("go");
  EXPECT_EQ(creator.wait(), 0);
  const std::string shown = waiter.all_shown();
  EXPECT_EQ(waiter.wait(), 0);
  EXPECT_THAT(shown, ::testing::EndsWith("\r\x1b[Kcluster-1\r\n"));
}

}  // namespace
}  // namespace dbcache::cli
