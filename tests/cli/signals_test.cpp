#include "cli/process/signals.hpp"

#include <chrono>
#include <csignal>

#include <gtest/gtest.h>

#include "support/child_process.hpp"

namespace dbcache::cli {
namespace {

using std::chrono::milliseconds;
using Kind = SignalRequests::Kind;

TEST(SignalRequestsTest, TheSameSignalAtOnceIsTheSameRequest) {
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_EQ(requests.take(SIGTERM, now), Kind::another);
  EXPECT_EQ(requests.take(SIGTERM, now), Kind::same);
  EXPECT_EQ(requests.take(SIGTERM, now + milliseconds(999)), Kind::same);
  EXPECT_EQ(requests.take(SIGTERM, now + milliseconds(1000)), Kind::another);
  EXPECT_EQ(requests.take(SIGTERM, now + milliseconds(1999)), Kind::same);
}

TEST(SignalRequestsTest, AnotherSignalIsAnotherRequest) {
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_EQ(requests.take(SIGTERM, now), Kind::another);
  EXPECT_EQ(requests.take(SIGINT, now), Kind::another);
  EXPECT_EQ(requests.take(SIGTERM, now), Kind::another);
}

TEST(SignalRequestsTest, AHangUpBesideAnotherSignalIsTheSameRequest) {
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_EQ(requests.take(SIGTERM, now), Kind::another);
  EXPECT_EQ(requests.take(SIGHUP, now + milliseconds(999)), Kind::same);
  EXPECT_EQ(requests.take(SIGHUP, now + milliseconds(1000)), Kind::another);
}

TEST(SignalRequestsTest, WhatComesBesideAHangUpIsToldAndNoSecondRequest) {
  const auto now = SignalRequests::Clock::now();
  SignalRequests requests;
  EXPECT_EQ(requests.take(SIGHUP, now), Kind::another);
  EXPECT_EQ(requests.take(SIGTERM, now + milliseconds(998)), Kind::addition);
  EXPECT_EQ(requests.take(SIGTERM, now + milliseconds(999)), Kind::same);
  EXPECT_EQ(requests.take(SIGINT, now + milliseconds(999)), Kind::another);
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
