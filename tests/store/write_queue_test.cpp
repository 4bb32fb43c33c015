#include "store/sqlite/write_queue.hpp"

#include <list>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::StartsWith;

const WriteWork nothing = [](WriteSession&) { return Sync::as_configured; };

/// Threads that stand in a queue whose lead is this one.
class WriteQueueTest : public ::testing::Test {
 protected:
  static constexpr auto never = steady_clock::time_point::max();

  /// A thread that enters, and then notes what came of it.
  struct Thread {
    Thread(WriteQueue& queue, const WriteWork* work, steady_clock::time_point deadline)
        : write(std::nullopt, work), thread([this, &queue, deadline] {
            error = test::error_of([&] {
              leads = queue.enter(write, deadline);
              return 0;
            });
          }) {}

    QueuedWrite write;
    bool leads = false;
    std::string error;
    std::thread thread;
  };

  WriteQueueTest() { EXPECT_TRUE(queue_.enter(lead_, never)); }
  ~WriteQueueTest() override {
    for (Thread& one : threads_) {
      if (one.thread.joinable()) one.thread.join();
    }
  }

  /// Lets one more thread stand in the queue, at its end.
  Thread& join(const WriteWork* work = &nothing) {
    Thread& thread = threads_.emplace_back(queue_, work, never);
    ++standing_;
    if (work != nullptr) static_cast<void>(take_all());
    return thread;
  }
  /// The batch of all who stand, once they do. They wait as before.
  WriteQueue::Batch take_all() {
    for (;;) {
      auto batch = queue_.take();
      queue_.put_back(batch);
      if (batch.size() >= std::min<std::size_t>(standing_, 64)) return batch;
      std::this_thread::yield();
    }
  }

  WriteQueue queue_;
  QueuedWrite lead_{std::nullopt, &nothing};
  std::size_t standing_ = 1;
  std::list<Thread> threads_;
};

TEST_F(WriteQueueTest, WhoComesFirstLeads) { EXPECT_THAT(queue_.take(), ElementsAre(&lead_)); }

TEST_F(WriteQueueTest, ABatchIsInTheOrderInWhichTheyCame) {
  Thread& first = join();
  Thread& second = join();
  Thread& third = join();

  const auto batch = queue_.take();

  EXPECT_THAT(batch, ElementsAre(&lead_, &first.write, &second.write, &third.write));
  queue_.pass_on();
  queue_.finish(batch, lead_);
}

TEST_F(WriteQueueTest, ThoseWhoseWritesAreDoneGoWithoutLeading) {
  Thread& other = join();

  const auto batch = queue_.take();
  queue_.pass_on();
  queue_.finish(batch, lead_);
  other.thread.join();

  EXPECT_FALSE(other.leads);
  EXPECT_EQ(other.error, "");
}

TEST_F(WriteQueueTest, WhoComesAfterABatchWasTakenLeadsTheNextWhileThatOneWaitsForTheDisk) {
  Thread& taken = join();
  const auto batch = queue_.take();
  Thread& next = threads_.emplace_back(queue_, &nothing, never);
  while (queue_.size() < 3) std::this_thread::yield();

  queue_.pass_on();
  next.thread.join();

  EXPECT_TRUE(next.leads);
  EXPECT_THAT(queue_.take(), ElementsAre(&next.write));
  queue_.finish(batch, lead_);
  taken.thread.join();
  EXPECT_FALSE(taken.leads);
}

TEST_F(WriteQueueTest, AfterABatchWasPutBackTheNextLeadsIfTheLeadGivesUp) {
  Thread& second = join();
  Thread& third = join();
  queue_.put_back(queue_.take());

  queue_.pass_on();
  second.thread.join();

  EXPECT_TRUE(second.leads);
  const auto batch = queue_.take();
  EXPECT_THAT(batch, ElementsAre(&second.write, &third.write));
  queue_.pass_on();
  queue_.finish(batch, second.write);
}

TEST_F(WriteQueueTest, ThosePutBackAloneAreEachTakenByThemselves) {
  Thread& second = join();
  Thread& third = join();
  queue_.put_back_alone(queue_.take());

  EXPECT_THAT(queue_.take(), ElementsAre(&lead_));
  queue_.pass_on();
  second.thread.join();
  EXPECT_TRUE(second.leads);
  EXPECT_THAT(queue_.take(), ElementsAre(&second.write));
  queue_.pass_on();
  third.thread.join();
  EXPECT_TRUE(third.leads);
  EXPECT_THAT(queue_.take(), ElementsAre(&third.write));
}

TEST_F(WriteQueueTest, WhoIsNotAloneIsNotTakenAlongByWhoIs) {
  queue_.put_back_alone(queue_.take());
  Thread& other = threads_.emplace_back(queue_, &nothing, never);
  EXPECT_THAT(queue_.take(), ElementsAre(&lead_));

  queue_.pass_on();
  other.thread.join();

  EXPECT_TRUE(other.leads);
}

TEST_F(WriteQueueTest, WhoNeedsTheDatabaseForItselfIsNotTakenNorAreThoseBehindIt) {
  Thread& before = join();
  Thread& itself = join(nullptr);
  const auto batch = queue_.take();
  EXPECT_THAT(batch, ElementsAre(&lead_, &before.write));
  queue_.pass_on();
  queue_.finish(batch, lead_);
  itself.thread.join();
  EXPECT_TRUE(itself.leads);

  Thread& behind = threads_.emplace_back(queue_, &nothing, never);

  EXPECT_THAT(queue_.take(), ::testing::IsEmpty());
  queue_.pass_on();
  behind.thread.join();
  EXPECT_TRUE(behind.leads);
}

TEST_F(WriteQueueTest, ABatchHasAnEnd) {
  for (int i = 0; i < 64; ++i) join();

  const auto batch = queue_.take();
  EXPECT_EQ(batch.size(), 64U);
  queue_.pass_on();
  queue_.finish(batch, lead_);

  Thread& last = threads_.back();
  last.thread.join();
  EXPECT_TRUE(last.leads);
  EXPECT_THAT(queue_.take(), ElementsAre(&last.write));
}

TEST_F(WriteQueueTest, PastItsDeadlineAThreadIsToldBusyAndIsNoLongerInTheQueue) {
  QueuedWrite late(std::nullopt, &nothing);

  EXPECT_THAT(test::error_of([&] { return queue_.enter(late, steady_clock::now()); }),
              StartsWith("Busy: other threads of this process"));

  EXPECT_THAT(queue_.take(), ElementsAre(&lead_));
  EXPECT_EQ(queue_.size(), 1U);
}

TEST_F(WriteQueueTest, AThreadThatGaveUpDoesNotHoldUpThoseBehindIt) {
  QueuedWrite late(std::nullopt, &nothing);
  EXPECT_THROW(static_cast<void>(queue_.enter(late, steady_clock::now())), Busy);
  Thread& behind = join();

  queue_.pass_on();
  behind.thread.join();

  EXPECT_TRUE(behind.leads);
}

TEST_F(WriteQueueTest, AThreadWhoseWriteIsJustBeingDoneWaitsForItPastItsDeadline) {
  const auto soon = steady_clock::now() + std::chrono::milliseconds{200};
  Thread& other = threads_.emplace_back(queue_, &nothing, soon);
  WriteQueue::Batch batch;
  do {
    batch = queue_.take();
  } while (batch.size() < 2 && steady_clock::now() < soon);
  std::this_thread::sleep_until(soon);

  queue_.pass_on();
  queue_.finish(batch, lead_);
  other.thread.join();

  // On a machine so busy that it came too late it was not taken, which proves nothing.
  if (batch.size() < 2) return;
  EXPECT_FALSE(other.leads);
  EXPECT_EQ(other.error, "");
}

TEST_F(WriteQueueTest, AChildOfAForkFindsItEmpty) {
  Thread& other = join();

  queue_.lock_for_fork();
  queue_.unlock_in_parent();
  EXPECT_EQ(take_all().size(), 2U);

  queue_.pass_on();
  other.thread.join();
  EXPECT_TRUE(other.leads);
  queue_.lock_for_fork();
  queue_.reset_in_child();
  EXPECT_THAT(queue_.take(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace dbcache::store::sqlite
