#include "cli/process/signals.hpp"

#include <chrono>
#include <csignal>

#include <gtest/gtest.h>

#include "support/child_process.hpp"

namespace dbcache::cli {
namespace {

using std::chrono::milliseconds;
using Kind = StopRequests::Kind;

TEST(StopRequestsTest, TheSameSignalAtOnceIsTheSameRequest) {
  const auto now = StopRequests::Clock::now();
  StopRequests requests;
  EXPECT_EQ(requests.classify(SIGTERM, now), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGTERM, now), Kind::repeated);
  EXPECT_EQ(requests.classify(SIGTERM, now + milliseconds(999)), Kind::repeated);
  EXPECT_EQ(requests.classify(SIGTERM, now + milliseconds(1000)), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGTERM, now + milliseconds(1999)), Kind::repeated);
}

TEST(StopRequestsTest, AnotherSignalIsAnotherRequest) {
  const auto now = StopRequests::Clock::now();
  StopRequests requests;
  EXPECT_EQ(requests.classify(SIGTERM, now), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGINT, now), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGTERM, now), Kind::new_request);
}

TEST(StopRequestsTest, AHangUpBesideAnotherSignalIsTheSameRequest) {
  const auto now = StopRequests::Clock::now();
  StopRequests requests;
  EXPECT_EQ(requests.classify(SIGTERM, now), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGHUP, now + milliseconds(999)), Kind::repeated);
  EXPECT_EQ(requests.classify(SIGHUP, now + milliseconds(1000)), Kind::new_request);
}

TEST(StopRequestsTest, ASignalBesideAHangUpIsPassedOnAsTheSameRequest) {
  const auto now = StopRequests::Clock::now();
  StopRequests requests;
  EXPECT_EQ(requests.classify(SIGHUP, now), Kind::new_request);
  EXPECT_EQ(requests.classify(SIGTERM, now + milliseconds(998)), Kind::completed);
  EXPECT_EQ(requests.classify(SIGTERM, now + milliseconds(999)), Kind::repeated);
  EXPECT_EQ(requests.classify(SIGINT, now + milliseconds(999)), Kind::new_request);
}

TEST(SignalThreadTest, ReadsASignalThatArrivesJustBeforeItsEnd) {
  // In a process of one thread, like a program at its start.
  test::ChildProcess child([] {
    for (int round = 0; round < 100; ++round) {
      const BlockedSignals blocked;
      const SignalThread signals(blocked);
      ::kill(::getpid(), SIGINT);
    }
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace dbcache::cli
