// Leases in C++20 coroutines. Several workers of one program share a cluster, on one thread.
// Another coroutine follows the log meanwhile.

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <dbcache/async.hpp>
#include <dbcache/dbcache.hpp>

namespace asio = boost::asio;
using asio::use_awaitable;

namespace {

/// Runs on a thread of its own, since it may take minutes.
std::string start_cluster(const dbcache::ClusterConfig&, dbcache::Creation& creation) {
  std::printf("creating with the token %s\n", creation.idempotency_token().c_str());
  return "cluster-" + creation.idempotency_token().substr(8, 8);
}

asio::awaitable<void> worker(dbcache::AsyncClusters& shared, int number) {
  const dbcache::ClusterConfig config{{"cluster_name", "coroutines"}, {"num_workers", 1}};
  dbcache::ClusterLifecycle lifecycle;
  lifecycle.create = start_cluster;
  dbcache::ClusterLease lease =
      co_await shared.async_acquire(config, lifecycle, dbcache::AcquireOptions(), use_awaitable);
  std::printf("worker %d tests on %s\n", number, lease.cluster_id().c_str());
  // Its destructor would release it too, but on this thread, and block the other workers.
  co_await shared.async_release(std::move(lease), use_awaitable);
}

/// Prints the log from its first event, until it is cancelled.
asio::awaitable<void> follow(dbcache::AsyncClusters& shared) {
  for (std::int64_t from = 1;;) {
    const std::vector<dbcache::RecordedEvent> events =
        co_await shared.async_watch(from, use_awaitable);
    for (const dbcache::RecordedEvent& event : events) {
      std::printf("#%lld %s\n", static_cast<long long>(event.position), event.type.c_str());
    }
    from = events.back().position + 1;
  }
}

asio::awaitable<void> workers(dbcache::AsyncClusters& shared) {
  using asio::experimental::awaitable_operators::operator&&;
  co_await (worker(shared, 1) && worker(shared, 2) && worker(shared, 3));
}

asio::awaitable<void> all(dbcache::AsyncClusters& shared) {
  using asio::experimental::awaitable_operators::operator||;
  // The first to end cancels the other. `follow` would never end by itself.
  co_await (workers(shared) || follow(shared));
}

}  // namespace

int main() {
  asio::io_context io;
  dbcache::AsyncClusters shared(io.get_executor());
  std::exception_ptr failure;
  asio::co_spawn(io, all(shared), [&failure](std::exception_ptr error) { failure = error; });
  io.run();
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
