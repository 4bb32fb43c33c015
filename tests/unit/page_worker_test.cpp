// Pages of the log are worked on beside the one who reads them, in their order.

#include "store/page_worker.hpp"

#include <algorithm>
#include <csignal>
#include <latch>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <dbcache/errors.hpp>

#include "store/store.hpp"

namespace dbcache::store {
namespace {

using testing::Each;

/// Notes the first position of each page, and on which thread it was worked on.
class Pages : public testing::Test {
 protected:
  void put(PageWorker& worker, std::int64_t position, std::size_t events = page_size) {
    const Page page = worker.blank();
    page->resize(events);
    page->front().position = position;
    worker.put(page);
  }
  void note(const std::vector<EventRecord>& page) {
    positions.push_back(page.front().position);
    threads.push_back(std::this_thread::get_id());
  }
  PageWorker::Work noting() {
    return [this](const std::vector<EventRecord>& page) { note(page); };
  }
  static std::vector<std::int64_t> one_to(std::int64_t last) {
    std::vector<std::int64_t> all;
    for (std::int64_t position = 1; position <= last; ++position) all.push_back(position);
    return all;
  }

  std::vector<std::int64_t> positions;
  std::vector<std::thread::id> threads;
};

TEST_F(Pages, AreWorkedOnInOrderOnAThreadBeside) {
  PageWorker worker(noting());
  for (std::int64_t position = 1; position <= 50; ++position) put(worker, position);
  put(worker, 51, 1);
  worker.finish();

  EXPECT_EQ(positions, one_to(51));
  EXPECT_THAT(threads, Each(threads.front()));
  EXPECT_NE(threads.front(), std::this_thread::get_id());
}

TEST_F(Pages, OfAShortLogAreWorkedOnWithoutAThread) {
  bool started = false;
  PageWorker worker(noting(), [&](std::function<void()> run) {
    started = true;
    return PageWorker::start_thread(std::move(run));
  });
  put(worker, 1, page_size - 1);

  EXPECT_EQ(positions, one_to(1));
  EXPECT_FALSE(started);
}

TEST_F(Pages, AreWorkedOnByTheCallerWhereThereIsNoThreadToBeHad) {
  int tries = 0;
  PageWorker worker(noting(), [&](const std::function<void()>&) -> std::jthread {
    ++tries;
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  });
  for (std::int64_t position = 1; position <= 3; ++position) put(worker, position);
  worker.finish();

  EXPECT_EQ(positions, one_to(3));
  EXPECT_THAT(threads, Each(std::this_thread::get_id()));
  EXPECT_EQ(tries, 1);
}

TEST_F(Pages, PutAfterTheFinishAreWorkedOnByTheCaller) {
  PageWorker worker(noting());
  put(worker, 1);
  worker.finish();
  put(worker, 2);

  EXPECT_EQ(positions, one_to(2));
  EXPECT_EQ(threads.back(), std::this_thread::get_id());
}

TEST_F(Pages, AreReadIntoTheMemoryOfEarlierOnes) {
  std::vector<const void*> memory;
  PageWorker worker([&](const std::vector<EventRecord>& page) { memory.push_back(page.data()); });
  for (std::int64_t position = 1; position <= 100; ++position) put(worker, position);
  worker.finish();

  std::sort(memory.begin(), memory.end());
  memory.erase(std::unique(memory.begin(), memory.end()), memory.end());
  EXPECT_LE(memory.size(), 6U);  // four wait, one is worked on, one is read
}

TEST_F(Pages, WaitNoLongerThanUntilOneFailed) {
  PageWorker worker([&](const std::vector<EventRecord>& page) {
    note(page);
    if (page.front().position == 3) throw std::runtime_error("the third");
  });
  EXPECT_THROW(
      {
        for (std::int64_t position = 1; position <= 100; ++position) put(worker, position);
      },
      std::runtime_error);
  EXPECT_EQ(positions, one_to(3));
  EXPECT_THROW(worker.finish(), std::runtime_error);
}

TEST_F(Pages, ThatFailInTheEndAreToldByTheFinish) {
  PageWorker worker([](const std::vector<EventRecord>&) { throw std::runtime_error("the last"); });
  put(worker, 1);
  EXPECT_THROW(worker.finish(), std::runtime_error);
}

TEST_F(Pages, ThatNobodyFinishesAreLeftWithTheWorker) {
  {
    PageWorker worker(noting());
    for (std::int64_t position = 1; position <= 3; ++position) put(worker, position);
  }
  EXPECT_LE(positions.size(), 3U);
  EXPECT_EQ(positions, one_to(static_cast<std::int64_t>(positions.size())));
}

TEST_F(Pages, AreWorkedOnWithEverySignalBlocked) {
  sigset_t blocked{};
  PageWorker worker(
      [&](const std::vector<EventRecord>&) { ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked); });
  put(worker, 1);
  worker.finish();

  EXPECT_EQ(::sigismember(&blocked, SIGINT), 1);
  EXPECT_EQ(::sigismember(&blocked, SIGTERM), 1);
}

TEST_F(Pages, AreRefusedInAForkedChildWhichHasNoThread) {
  std::latch worked(1);
  auto worker = std::make_unique<PageWorker>([&, note = noting()](const auto& events) {
    note(events);
    worked.count_down();
  });
  put(*worker, 1);
  worked.wait();  // a child of which the thread takes memory just then may stand still
  const pid_t child = ::fork();
  if (child == 0) {
    bool refused = false;
    try {
      put(*worker, 2);
    } catch (const StorageFailure&) {
      refused = true;
    }
    worker.reset();  // does not wait for the thread
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  worker->finish();
  EXPECT_EQ(positions, one_to(1));
}

}  // namespace
}  // namespace dbcache::store
