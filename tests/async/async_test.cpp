// Leases and the log on Boost.Asio: any completion token, cancellation, deadlines on the executor,
// and no blocking on its threads.

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <gmock/gmock.h>

#include <dbcache/async.hpp>
#include <dbcache/dbcache.hpp>

#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;

ClusterConfig config() { return {{"cluster_name", "asynchronous"}}; }

class Async : public testing::Test {
 protected:
  [[nodiscard]] Options options() const {
    Options options;
    options.database = (directory_.path() / "cache.db").string();
    return options;
  }

  /// Creates `c-1`, and notes on which thread.
  [[nodiscard]] ClusterLifecycle lifecycle() {
    ClusterLifecycle lifecycle;
    lifecycle.create = [this](const ClusterConfig&, Creation&) {
      created_on_ = std::this_thread::get_id();
      return std::string("c-1");
    };
    return lifecycle;
  }

  /// A creator that holds the configuration up until it is told to go on.
  class SlowCreator {
   public:
    explicit SlowCreator(const Options& options)
        : thread_([this, options] {
            SharedClusters shared(options);
            ClusterLifecycle lifecycle;
            lifecycle.create = [this](const ClusterConfig&, Creation&) {
              creating_.set_value();
              go_on_.get_future().wait();
              return std::string("c-slow");
            };
            shared.acquire(config(), lifecycle).release();
          }) {
      creating_.get_future().wait();
    }
    ~SlowCreator() {
      go_on_.set_value();
      thread_.join();
    }

   private:
    std::promise<void> creating_;
    std::promise<void> go_on_;
    std::thread thread_;
  };

  template <class Error>
  static testing::AssertionResult is(std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(std::move(error));
      return testing::AssertionFailure() << "nothing was thrown";
    } catch (const Error&) {
      return testing::AssertionSuccess();
    } catch (const std::exception& other) {
      return testing::AssertionFailure() << "another error: " << other.what();
    }
  }

  test::BareEnvironment bare_;
  test::TemporaryDirectory directory_;
  std::optional<std::thread::id> created_on_;
};

TEST_F(Async, AcquireCallsBackOnTheExecutorAndCreatesElsewhere) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  std::optional<std::thread::id> called_on;
  ClusterLease lease;
  shared.async_acquire(config(), lifecycle(), {}, [&](std::exception_ptr error, ClusterLease got) {
    EXPECT_FALSE(error);
    called_on = std::this_thread::get_id();
    lease = std::move(got);
  });
  EXPECT_FALSE(called_on);  // never from inside the initiating call
  io.run();
  EXPECT_EQ(called_on, std::this_thread::get_id());
  EXPECT_NE(created_on_, std::this_thread::get_id());
  EXPECT_EQ(lease.cluster_id(), "c-1");
  EXPECT_TRUE(lease.created_here());
  EXPECT_TRUE(lease.release().was_last);
}

TEST_F(Async, AcquireFillsAFuture) {
  asio::thread_pool pool(2);
  AsyncClusters shared(pool.get_executor(), options());
  std::future<ClusterLease> future =
      shared.async_acquire(config(), lifecycle(), {}, asio::use_future);
  EXPECT_EQ(future.get().cluster_id(), "c-1");
}

TEST_F(Async, AFutureThrowsWhatCreateThrew) {
  asio::thread_pool pool(1);
  AsyncClusters shared(pool.get_executor(), options());
  ClusterLifecycle failing;
  failing.create = [](const ClusterConfig&, Creation&) -> std::string {
    throw std::domain_error("no quota");
  };
  auto future = shared.async_acquire(config(), failing, {}, asio::use_future);
  EXPECT_THROW(future.get(), std::domain_error);
}

asio::awaitable<std::string> acquire_once(AsyncClusters& shared, ClusterLifecycle lifecycle) {
  const ClusterConfig wanted = config();
  const ClusterLease lease =
      co_await shared.async_acquire(wanted, std::move(lifecycle), AcquireOptions(), use_awaitable);
  co_return lease.cluster_id();
}

TEST_F(Async, ACoroutineAwaitsALease) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  std::vector<std::future<std::string>> all;
  for (int worker = 0; worker < 4; ++worker) {
    all.push_back(asio::co_spawn(io, acquire_once(shared, lifecycle()), asio::use_future));
  }
  io.run();
  for (auto& one : all) EXPECT_EQ(one.get(), "c-1");
  EXPECT_THAT(shared.clusters().leases().leases, testing::IsEmpty());
  EXPECT_EQ(shared.manager().history({.types = {"CreationStarted"}}).size(), 1U);
}

TEST_F(Async, ReleaseTerminatesElsewhere) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  std::optional<std::thread::id> terminated_on;
  ClusterLifecycle handed_back = lifecycle();
  handed_back.terminate = [&](const Termination&) { terminated_on = std::this_thread::get_id(); };
  AcquireOptions wanted;
  wanted.policy = HandBackPolicy::hand_back;
  std::optional<ReleaseReport> report;
  shared.async_acquire(
      config(), handed_back, wanted, [&](const std::exception_ptr&, ClusterLease lease) {
        shared.async_release(std::move(lease),
                             [&](const std::exception_ptr& error, const ReleaseReport& done) {
                               EXPECT_FALSE(error);
                               report = done;
                             });
        EXPECT_FALSE(report);
      });
  io.run();
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->was_last);
  EXPECT_TRUE(report->settled);
  ASSERT_TRUE(terminated_on);
  EXPECT_NE(terminated_on, std::this_thread::get_id());
}

TEST_F(Async, TheExecutorIsFreeWhileAnAcquireWaits) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  auto creator = std::make_unique<SlowCreator>(options());
  std::string got;
  shared.async_acquire(
      config(), lifecycle(), {},
      [&](std::exception_ptr, const ClusterLease& lease) { got = lease.cluster_id(); });
  // Run by the same single thread, and what the acquire waits for: it would hang if that blocked.
  asio::post(io, [&] { creator.reset(); });
  io.run();
  EXPECT_EQ(got, "c-slow");
}

TEST_F(Async, AnAcquireThatWaitsIsCancelledByItsSlotAndLeavesNothing) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  const SlowCreator creator(options());
  const auto before = shared.manager().history().size();
  asio::cancellation_signal cancel;
  std::exception_ptr error;
  AcquireOptions telling;
  telling.on_wait = [&](const WaitProgress&) {
    asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
  };
  shared.async_acquire(config(), lifecycle(), telling,
                       asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr thrown,
                                                                       const ClusterLease& lease) {
                         error = std::move(thrown);
                         EXPECT_FALSE(lease);
                       }));
  io.run();
  EXPECT_TRUE(is<Cancelled>(error));
  EXPECT_EQ(shared.manager().history().size(), before);
}

TEST_F(Async, TheDeadlineIsATimerOfTheExecutor) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  const SlowCreator creator(options());
  std::exception_ptr error;
  AcquireOptions short_wait;
  short_wait.timeout = std::chrono::milliseconds(20);
  shared.async_acquire(config(), lifecycle(), short_wait,
                       [&](std::exception_ptr thrown, const ClusterLease&) { error = thrown; });
  io.run();
  EXPECT_TRUE(is<Timeout>(error));
}

TEST_F(Async, TheLongestTimeoutIsForEver) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  AcquireOptions patient;
  patient.timeout = std::chrono::milliseconds::max();
  std::exception_ptr error;
  shared.async_acquire(config(), lifecycle(), patient,
                       [&](std::exception_ptr thrown, const ClusterLease&) { error = thrown; });
  io.run();
  EXPECT_FALSE(error);
}

TEST_F(Async, ACreationIsToldThatItIsCancelled) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  asio::cancellation_signal cancel;
  std::exception_ptr error;
  ClusterLifecycle patient;
  patient.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
    std::promise<void> stopped;
    const std::stop_callback on_stop(creation.stop_token(), [&] { stopped.set_value(); });
    asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
    stopped.get_future().wait();
    throw Cancelled("told to stop");
  };
  shared.async_acquire(
      config(), patient, {},
      asio::bind_cancellation_slot(
          cancel.slot(), [&](std::exception_ptr thrown, const ClusterLease&) { error = thrown; }));
  io.run();
  EXPECT_TRUE(is<Cancelled>(error));
  EXPECT_EQ(shared.clusters().owed().size(), 1U);  // known by its token
}

TEST_F(Async, DestroyingTheObjectEndsWhatStillWaits) {
  asio::io_context io;
  const SlowCreator creator(options());
  std::exception_ptr error;
  {
    AsyncClusters shared(io.get_executor(), options());
    shared.async_acquire(config(), lifecycle(), {},
                         [&](std::exception_ptr thrown, const ClusterLease&) { error = thrown; });
  }
  io.run();
  EXPECT_TRUE(is<Cancelled>(error));
}

TEST_F(Async, AHandlerMayDestroyTheObject) {
  asio::io_context io;
  auto shared = std::make_unique<AsyncClusters>(io.get_executor(), options());
  std::string got;
  shared->async_acquire(config(), lifecycle(), {},
                        [&](std::exception_ptr, const ClusterLease& lease) {
                          got = lease.cluster_id();
                          shared.reset();
                        });
  io.run();
  EXPECT_EQ(got, "c-1");
}

TEST_F(Async, WatchYieldsWhatIsThereAndThenWhatComes) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  shared.manager().cache_new_cluster("c-1");
  std::vector<std::string> types;
  shared.async_watch(1, [&](std::exception_ptr, const std::vector<RecordedEvent>& first) {
    for (const RecordedEvent& event : first) types.push_back(event.type);
    shared.async_watch(first.back().position + 1,
                       [&](std::exception_ptr, const std::vector<RecordedEvent>& second) {
                         for (const RecordedEvent& event : second) types.push_back(event.type);
                       });
    // From another process, say: nothing in this one tells the waiting operation.
    CacheManager(options()).update_cluster_access("c-1");
  });
  io.run();
  EXPECT_THAT(types, testing::ElementsAre("ClusterCached", "ClusterAccessed"));
}

TEST_F(Async, AWatchIsCancelledByTheCoroutineAroundIt) {
  using asio::experimental::awaitable_operators::operator||;
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  const auto race = [&]() -> asio::awaitable<std::size_t> {
    asio::steady_timer soon(co_await asio::this_coro::executor);
    soon.expires_after(std::chrono::milliseconds(1));
    const auto first =
        co_await (shared.async_watch(1'000'000, use_awaitable) || soon.async_wait(use_awaitable));
    co_return first.index();
  };
  auto first = asio::co_spawn(io, race(), asio::use_future);
  io.run();
  EXPECT_EQ(first.get(), 1U);
}

TEST_F(Async, AWatchOfNoPositionIsRefused) {
  asio::io_context io;
  AsyncClusters shared(io.get_executor(), options());
  std::exception_ptr error;
  shared.async_watch(
      0, [&](std::exception_ptr thrown, const std::vector<RecordedEvent>&) { error = thrown; });
  io.run();
  EXPECT_TRUE(is<InvalidArgument>(error));
}

}  // namespace
}  // namespace dbcache
