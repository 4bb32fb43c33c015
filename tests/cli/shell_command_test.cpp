#include "cli/process/shell_command.hpp"

#include <array>
#include <fcntl.h>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <dbcache/errors.hpp>

#include "support/temporary_directory.hpp"

// How a CMD runs, over real processes. They wait for one another by fifos and pipes.
namespace dbcache::cli {
namespace {

using std::chrono::steady_clock;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class ShellCommandTest : public ::testing::Test {
 protected:
  ShellOutcome run(const std::string& line, const std::string& input = "") {
    command_.line = line;
    command_.input = input;
    return run_shell(command_, signals_, err_);
  }
  std::string failure(const std::string& line) {
    const ShellOutcome outcome = run(line);
    return failure_text(command_, outcome);
  }
  /// The path of a new fifo.
  std::string fifo(const std::string& name) {
    std::string path = (directory_.path() / name).string();
    ::mkfifo(path.c_str(), 0600);
    return path;
  }
  static void wait_on(const std::string& fifo) {
    const int descriptor = ::open(fifo.c_str(), O_RDONLY);
    char byte = 0;
    while (::read(descriptor, &byte, 1) > 0) {
    }
    ::close(descriptor);
  }

  /// Asks for the end of the command when it has written to the fifo `up_`.
  std::jthread stop_once_up() {
    command_.stop = source_.get_token();
    return std::jthread([this] {
      wait_on(up_);
      source_.request_stop();
    });
  }

  BlockedSignals blocked_;
  SignalThread signals_{blocked_};
  std::ostringstream err_;
  ShellCommand command_{.role = "create"};

 private:
  test::TemporaryDirectory directory_;
  std::stop_source source_;

 protected:
  const std::string up_ = fifo("up");
  /// Tells `up_`, and waits. Traps stand by then, and whatever runs is no shell between two states.
  const std::string up_and_waiting_ = "sh -c 'echo >" + up_ + "; exec sleep 1000' & wait";
};

TEST_F(ShellCommandTest, ReadsItsInputAndPrintsItsResultLast) {
  const ShellOutcome outcome = run("echo working; cat; echo ' cluster-1 '; echo", "{\"a\": 1}\n");
  EXPECT_EQ(outcome.status.as_exit_code(), 0);
  EXPECT_EQ(outcome.out.last_line(), "cluster-1");
  EXPECT_EQ(outcome.out.last_lines(), "working | {\"a\": 1} | cluster-1");
}

TEST_F(ShellCommandTest, WithoutInputItsStandardInputIsEmpty) {
  EXPECT_EQ(run("wc -c").out.last_line(), "0");
}

TEST_F(ShellCommandTest, NeedNotReadItsInput) {
  EXPECT_EQ(run("exit 4", std::string(1 << 20, 'x')).status.code, 4);
  EXPECT_EQ(run("exec <&-; echo read", std::string(1 << 20, 'x')).out.last_line(), "read");
}

TEST_F(ShellCommandTest, MayPrintAnyAmount) {
  const ShellOutcome outcome =
      run("head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero >&2; "
          "echo; echo cluster-1");
  EXPECT_EQ(outcome.out.last_line(), "cluster-1");
  EXPECT_EQ(err_.str().size(), 3000000U);
}

TEST_F(ShellCommandTest, CopiesItsStderr) {
  run("echo one >&2; echo two; echo three >&2");
  EXPECT_EQ(err_.str(), "one\nthree\n");
}

TEST_F(ShellCommandTest, AFailureShowsTheExitStatusAndTheLastLines) {
  EXPECT_EQ(failure("echo no quota >&2; exit 3"),
            "the create command 'echo no quota >&2; exit 3' ended with exit code 3: no quota");
  EXPECT_THAT(failure("for n in 1 2 3 4 5 6 7; do echo $n >&2; done; exit 1"),
              EndsWith("exit code 1: 3 | 4 | 5 | 6 | 7"));
  EXPECT_THAT(failure("kill -KILL $$"), EndsWith("ended with signal 9 (Killed)"));
  EXPECT_THAT(failure("echo told on stdout; exit 1"), EndsWith("exit code 1: told on stdout"));
}

TEST_F(ShellCommandTest, DoesNotWaitForADaemonThatKeepsTheOutputsOpen) {
  const std::string go = fifo("go");
  const ShellOutcome outcome = run("(cat " + go + " >/dev/null) & echo cluster-1");
  EXPECT_EQ(outcome.out.last_line(), "cluster-1");
  const int descriptor = ::open(go.c_str(), O_WRONLY);
  ::close(descriptor);
}

TEST_F(ShellCommandTest, InheritsTheLock) {
  const Descriptor lock(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  command_.lock_descriptor = lock.number();
  EXPECT_EQ(run("[ -e /proc/$$/fd/" + std::to_string(lock.number()) + " ]").status.code, 0);
  command_.lock_descriptor = -1;
  EXPECT_EQ(run("[ -e /proc/$$/fd/" + std::to_string(lock.number()) + " ]").status.code, 1);
}

TEST_F(ShellCommandTest, IsStoppedAtItsDeadline) {
  command_.deadline = steady_clock::now() + std::chrono::milliseconds(50);
  EXPECT_THROW(run("sleep 1000"), Timeout);
}

TEST_F(ShellCommandTest, ItsDescendantsAreStoppedWithIt) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor reader(ends[0]);
  Descriptor lock(ends[1]);
  command_.lock_descriptor = lock.number();
  command_.deadline = steady_clock::now() + std::chrono::milliseconds(50);
  EXPECT_THROW(run("(exec >&- 2>&-; sleep 1000) & sleep 1000; true"), Timeout);
  lock.close();
  char byte = 0;
  EXPECT_EQ(::read(reader.number(), &byte, 1), 0) << "a process that holds the lock is left";
}

TEST_F(ShellCommandTest, CanCleanUpWhenItIsStopped) {
  const std::jthread stopper = stop_once_up();
  EXPECT_THROW(run("trap 'echo cleaned up >&2; exit 1' TERM; " + up_and_waiting_), Cancelled);
  EXPECT_EQ(err_.str(), "cleaned up\n");
}

TEST_F(ShellCommandTest, AResultAfterAStopRequestIsKept) {
  const std::jthread stopper = stop_once_up();
  const auto outcome = run("trap 'echo cluster-1; exit 0' TERM; " + up_and_waiting_);
  EXPECT_EQ(outcome.out.last_line(), "cluster-1");
}

TEST_F(ShellCommandTest, StopsOnRequest) {
  const std::jthread stopper = stop_once_up();
  EXPECT_THROW(run("echo >" + up_ + "; sleep 1000"), Cancelled);
}

TEST_F(ShellCommandTest, IsNotStartedAfterAStopRequest) {
  std::stop_source source;
  source.request_stop();
  command_.stop = source.get_token();
  EXPECT_THROW(run("echo ran >&2"), Cancelled);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(ShellCommandTest, ReceivesASignal) {
  std::jthread sender([&] {
    wait_on(up_);
    ::kill(::getpid(), SIGHUP);
  });
  const ShellOutcome outcome = run("trap 'exit 7' HUP; " + up_and_waiting_);
  EXPECT_EQ(outcome.status.code, 7);
  EXPECT_EQ(signals_.first(), SIGHUP);
}

TEST_F(ShellCommandTest, ASecondSignalKillsIt) {
  std::jthread sender([&] {
    wait_on(up_);
    ::kill(::getpid(), SIGINT);
    ::kill(::getpid(), SIGTERM);
  });
  EXPECT_EQ(run("trap '' INT TERM; echo >" + up_ + "; exec sleep 1000").status.signal, SIGKILL);
}

TEST_F(ShellCommandTest, ASignalThatStopsItIsNotFollowedByATerm) {
  command_.stop = signals_.stop();
  std::jthread sender([&] {
    wait_on(up_);
    ::kill(::getpid(), SIGINT);
  });
  EXPECT_THROW(run("trap 'echo int >&2; kill $!; exit 1' INT; trap 'echo term >&2' TERM; " +
                   up_and_waiting_),
               Cancelled);
  EXPECT_EQ(err_.str(), "int\n");
}

}  // namespace
}  // namespace dbcache::cli
