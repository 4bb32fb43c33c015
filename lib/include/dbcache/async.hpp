#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/export.hpp>
#include <dbcache/history.hpp>
#include <dbcache/shared_clusters.hpp>

/// Shared clusters for programs on Boost.Asio. <dbcache/dbcache.hpp> does not include this header,
/// since Asio is slow to compile.
namespace dbcache {

/// Runs the blocking parts of asynchronous operations, each on a thread of its own. The functions
/// of a lifecycle may take minutes, and one operation may wait for another of the same process, so
/// a pool of threads would not do. Thread-safe.
class DBCACHE_EXPORT AsyncWorkers {
 public:
  /// Starts no thread yet.
  AsyncWorkers();
  /// Stops the operations that still run, and waits for them. That may take as long as a `create`.
  ~AsyncWorkers();
  AsyncWorkers(const AsyncWorkers&) = delete;
  AsyncWorkers& operator=(const AsyncWorkers&) = delete;

  /// Runs `work` on a new thread. The destructor requests a stop of the token. `work` must not
  /// throw. Throws std::system_error if no thread can be started.
  void run(std::function<void(std::stop_token)> work);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

namespace detail {

/// One operation under way: its stop source, and its deadline on the executor.
struct AsyncOperation {
  explicit AsyncOperation(const boost::asio::any_io_executor& executor) : timer(executor) {}

  std::stop_source stop;
  std::atomic<bool> timed_out = false;
  boost::asio::steady_timer timer;
};

/// Runs `block` on a worker, and completes `handler` on its executor with the result or exception
/// of `block`. The token that `block` gets is stopped by cancellation, by the deadline, by the
/// caller's token and by the end of the workers. `timeout` is the time until the deadline; empty
/// means none.
template <class Result, class Handler, class Block>
void run_async(const boost::asio::any_io_executor& executor,
               const std::shared_ptr<AsyncWorkers>& workers, Handler handler,
               std::optional<std::chrono::milliseconds> timeout, std::stop_token callers,
               Block block) {
  namespace asio = boost::asio;
  auto operation = std::make_shared<AsyncOperation>(executor);
  auto slot = asio::get_associated_cancellation_slot(handler);
  if (slot.is_connected()) {
    slot.assign([weak = std::weak_ptr(operation)](asio::cancellation_type) {
      if (const auto alive = weak.lock()) alive->stop.request_stop();
    });
  }
  if (timeout) {
    // A longer one would overflow the timer.
    constexpr std::chrono::milliseconds longest = std::chrono::years{100};
    operation->timer.expires_after(std::min(*timeout, longest));
    operation->timer.async_wait([operation](const boost::system::error_code& error) {
      if (error) return;
      operation->timed_out = true;
      operation->stop.request_stop();
    });
  }
  auto handler_executor = asio::get_associated_executor(handler, executor);
  // On the heap: std::function needs a copyable target, and a handler need not be copyable.
  auto completion = std::make_shared<Handler>(std::move(handler));
  const auto complete = [handler_executor, completion](std::exception_ptr error,
                                                       std::shared_ptr<Result> result) {
    asio::post(handler_executor, [completion, error, result]() mutable {
      Handler finished = std::move(*completion);
      completion.reset();
      asio::get_associated_cancellation_slot(finished).clear();
      std::move(finished)(error, std::move(*result));
    });
  };
  auto work = [operation, executor, complete, callers = std::move(callers),
               block = std::move(block), keeps_executor = asio::make_work_guard(executor),
               keeps_handlers =
                   asio::make_work_guard(handler_executor)](const std::stop_token& ending) mutable {
    std::exception_ptr error;
    auto result = std::make_shared<Result>();
    {
      const auto stop = [operation] { operation->stop.request_stop(); };
      const std::stop_callback on_end(ending, stop);
      const std::stop_callback on_callers(callers, stop);
      try {
        *result = block(operation->stop.get_token(), operation->timed_out);
      } catch (...) {
        error = std::current_exception();
      }
    }
    // The timer and the slot belong to the executors, not to this thread.
    asio::post(executor, [operation] { operation->timer.cancel(); });
    complete(error, result);
  };
  try {
    workers->run(std::move(work));
  } catch (...) {  // no thread can be started
    operation->timer.cancel();
    complete(std::current_exception(), std::make_shared<Result>());
  }
}

}  // namespace detail

/// The operations of SharedClusters and of the log, asynchronously, for any completion token: a
/// callback, boost::asio::use_future, or boost::asio::use_awaitable in a C++20 coroutine.
///
/// An operation completes on the handler's associated executor, else on the executor given here. It
/// never blocks that executor. Its functions of the lifecycle run on a thread that this object
/// makes. It completes with the exception of the blocking call, if that threw; an exception_ptr of
/// null means success. If no thread can be started, it completes with std::system_error.
///
/// Cancellation: async_acquire and async_watch can be cancelled through their cancellation slots,
/// and then throw Cancelled. A coroutine that was cancelled itself begins no further operation, not
/// even async_release, unless it resets its state
/// (boost::asio::this_coro::reset_cancellation_state). The destructor of the lease releases the
/// lease then.
///
///     dbcache::AsyncClusters shared(io.get_executor());
///     dbcache::ClusterLease lease =
///         co_await shared.async_acquire(config, lifecycle, {}, boost::asio::use_awaitable);
///     ...
///     co_await shared.async_release(std::move(lease), boost::asio::use_awaitable);
///
/// Destroying a lease releases it on that thread, and blocks it, for a `terminate` too. Prefer
/// async_release.
///
/// Lifetime: destroy this object before the executor's context. So do not keep it in a coroutine's
/// frame or a handler that the context destroys. Copies share the database and the threads.
/// Destroying the last copy stops the operations that still run and waits for them.
///
/// Thread-safe: several threads may start operations at once.
class AsyncClusters {
 public:
  /// Opens nothing yet. Throws as the constructor of CacheManager does.
  explicit AsyncClusters(boost::asio::any_io_executor executor, Options options = {})
      : executor_(std::move(executor)),
        manager_(std::make_shared<CacheManager>(std::move(options))),
        clusters_(std::make_shared<SharedClusters>(*manager_)) {}

  /// The executor that was given here.
  [[nodiscard]] boost::asio::any_io_executor get_executor() const { return executor_; }

  /// The same database, for calls that block. Valid as long as this object.
  [[nodiscard]] CacheManager& manager() noexcept { return *manager_; }
  [[nodiscard]] SharedClusters& clusters() noexcept { return *clusters_; }

  /// SharedClusters::acquire. Completes with (std::exception_ptr, ClusterLease). The executor runs
  /// the timer of AcquireOptions::timeout.
  template <class CompletionToken>
  auto async_acquire(ClusterConfig config, ClusterLifecycle lifecycle, AcquireOptions options,
                     CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(std::exception_ptr, ClusterLease)>(
        [executor = executor_, workers = workers_, clusters = clusters_](
            auto handler, ClusterConfig for_config, ClusterLifecycle with, AcquireOptions given) {
          const std::stop_token callers = given.stop;
          const auto timeout = given.timeout;
          detail::run_async<ClusterLease>(
              executor, workers, std::move(handler), timeout, callers,
              [clusters, for_config = std::move(for_config), with = std::move(with),
               given = std::move(given)](std::stop_token stop,
                                         const std::atomic<bool>& timed_out) mutable {
                given.stop = std::move(stop);
                try {
                  return clusters->acquire(for_config, with, given);
                } catch (const Cancelled&) {
                  if (!timed_out) throw;
                  throw Timeout(
                      "no cluster for this configuration in time; wait longer, or see "
                      "dbcache leases");
                }
              });
        },
        token, std::move(config), std::move(lifecycle), std::move(options));
  }

  /// ClusterLease::release. Completes with (std::exception_ptr, ReleaseReport). If it is cancelled,
  /// it still ends the lease and terminates the cluster of the lease if that is pending. It begins
  /// no other pending termination.
  template <class CompletionToken>
  auto async_release(ClusterLease lease, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(std::exception_ptr, ReleaseReport)>(
        [executor = executor_, workers = workers_](auto handler, ClusterLease released) {
          // On the heap: std::function needs a copyable target.
          auto held = std::make_shared<ClusterLease>(std::move(released));
          detail::run_async<ReleaseReport>(
              executor, workers, std::move(handler), std::nullopt, {},
              [held = std::move(held)](const std::stop_token& stop, const std::atomic<bool>&) {
                return held->release(stop);
              });
        },
        token, std::move(lease));
  }

  /// CacheManager::wait_for_events, without a timeout. Completes with (std::exception_ptr,
  /// std::vector<RecordedEvent>) once there are events at `from_position` or after it: at most
  /// 1000. Ask for the last one's position + 1 next.
  template <class CompletionToken>
  auto async_watch(std::int64_t from_position, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken,
                                       void(std::exception_ptr, std::vector<RecordedEvent>)>(
        [executor = executor_, workers = workers_, manager = manager_](auto handler,
                                                                       std::int64_t from) {
          detail::run_async<std::vector<RecordedEvent>>(
              executor, workers, std::move(handler), std::nullopt, {},
              [manager, from](std::stop_token stop, const std::atomic<bool>&) {
                return manager->wait_for_events(from,
                                                {.timeout = std::nullopt, .stop = std::move(stop)});
              });
        },
        token, from_position);
  }

 private:
  boost::asio::any_io_executor executor_;
  std::shared_ptr<CacheManager> manager_;
  std::shared_ptr<SharedClusters> clusters_;
  std::shared_ptr<AsyncWorkers> workers_ = std::make_shared<AsyncWorkers>();
};

}  // namespace dbcache
