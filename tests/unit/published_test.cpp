// A value that threads replace while others read it, and that a fork may meet at any moment.

#include "system/published.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "support/child_process.hpp"

namespace dbcache::system {
namespace {

TEST(Published, IsNothingUntilItIsPut) {
  Published<std::string> published;
  EXPECT_EQ(published.get(), std::nullopt);
  published.update([](const std::string&) { return std::optional<std::string>("never"); });
  EXPECT_EQ(published.get(), std::nullopt);
  published.put("one");
  published.put("two");
  EXPECT_EQ(published.get(), "two");
}

TEST(Published, IsUpdatedUnlessTheChangeIsNothing) {
  Published<std::string> published;
  published.put("one");
  published.update([](const std::string& value) { return std::optional(value + "!"); });
  published.update([](const std::string&) { return std::optional<std::string>(); });
  EXPECT_EQ(published.get(), "one!");
}

TEST(Published, FreesWhatIsReplacedOnceNobodyReads) {
  const auto counted = std::make_shared<int>(0);
  {
    Published<std::shared_ptr<int>> published;
    published.put(counted);
    published.with([&](const std::shared_ptr<int>&) {
      published.put(counted);
      published.put(counted);
      EXPECT_EQ(counted.use_count(), 4);  // three are published, or may be read still
    });
    published.put(counted);
    EXPECT_EQ(counted.use_count(), 2);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Published, LosesNoUpdateOfManyThreads) {
  constexpr int threads = 4;
  constexpr int rounds = 2000;
  Published<std::string> published;
  published.put("");
  {
    std::vector<std::jthread> running;
    for (int thread = 0; thread < threads; ++thread) {
      running.emplace_back([&] {
        for (int round = 0; round < rounds; ++round) {
          published.update([](const std::string& value) { return std::optional(value + "x"); });
          if (published.get()->find_first_not_of('x') != std::string::npos) ADD_FAILURE();
        }
      });
    }
  }
  EXPECT_EQ(published.get()->size(), std::size_t{threads} * rounds);
}

TEST(Published, IsReadAndReplacedByAChildThatIsForkedAtAnyMoment) {
  Published<std::string> published;
  published.put("parent");
  std::atomic<bool> stop = false;
  std::jthread busy([&] {
    while (!stop) {
      published.put("parent");
      static_cast<void>(published.get());
    }
  });
  for (int count = 0; count < 50; ++count) {
    EXPECT_EQ(test::in_child([&] {
                const std::string before = *published.get();
                published.put("child");
                return before + ' ' + *published.get();
              }),
              "parent child");
  }
  stop = true;
}

}  // namespace
}  // namespace dbcache::system
