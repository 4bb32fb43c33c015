#include "cli/signals.hpp"

#include <gtest/gtest.h>

#include "support/child_process.hpp"

namespace dbcache::cli {
namespace {

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
