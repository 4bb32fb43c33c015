#include "cli/signals.hpp"

#include <chrono>
#include <csignal>
#include <utility>

#include <gtest/gtest.h>

#include "support/child_process.hpp"

namespace dbcache::cli {
namespace {

TEST(SignalRequestsTest, TheSameSignalAtOnceIsTheSameRequest) {
  using std::chrono::milliseconds;
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_TRUE(requests.is_another(SIGTERM, now));
  EXPECT_FALSE(requests.is_another(SIGTERM, now));
  EXPECT_FALSE(requests.is_another(SIGTERM, now + milliseconds(999)));
  EXPECT_TRUE(requests.is_another(SIGTERM, now + milliseconds(1000)));
  EXPECT_FALSE(requests.is_another(SIGTERM, now + milliseconds(1999)));
}

TEST(SignalRequestsTest, AnotherSignalIsAnotherRequest) {
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_TRUE(requests.is_another(SIGTERM, now));
  EXPECT_TRUE(requests.is_another(SIGINT, now));
  EXPECT_TRUE(requests.is_another(SIGTERM, now));
}

TEST(SignalRequestsTest, AHangUpBesideAnotherSignalIsTheSameRequest) {
  using std::chrono::milliseconds;
  const auto now = SignalRequests::Clock::now();
  for (const auto& [first, second] : {std::pair{SIGTERM, SIGHUP}, std::pair{SIGHUP, SIGTERM}}) {
    SignalRequests requests;
    EXPECT_TRUE(requests.is_another(first, now));
    EXPECT_FALSE(requests.is_another(second, now + milliseconds(999)));
    EXPECT_TRUE(requests.is_another(second, now + milliseconds(1000)));
  }
}

TEST(SignalWatchTest, ASignalAtItsVeryEndIsStillItsOwn) {
  // In a process that has no thread but its own, as a program has when it begins.
  test::ChildProcess child([] {
    for (int round = 0; round < 100; ++round) {
      const HeldSignals held;
      const SignalWatch signals(held);
      ::kill(::getpid(), SIGINT);
    }
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace dbcache::cli
