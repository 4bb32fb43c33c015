#include "bench/contention.hpp"

#include <deque>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <unistd.h>

#include <sys/resource.h>

#include "bench/worker.hpp"

namespace dbcache::bench {
namespace {

/// What this process has used of the processor, all its threads together.
Nanoseconds used_processor() {
  rusage own{};
  ::getrusage(RUSAGE_SELF, &own);
  Nanoseconds used = 0;
  for (const timeval& time : {own.ru_utime, own.ru_stime}) {
    used += Nanoseconds{time.tv_sec} * 1'000'000'000 + Nanoseconds{time.tv_usec} * 1'000;
  }
  return used;
}

}  // namespace

Contention run_contenders(const std::vector<std::vector<std::string>>& roles, Seconds time) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  std::deque<Worker> workers;
  for (std::vector<std::string> role : roles) {
    role.push_back(std::to_string(milliseconds));
    workers.emplace_back(std::move(role));
  }
  for (const Worker& worker : workers) static_cast<void>(worker.get());
  const Nanoseconds begin = to_nanoseconds(SteadyClock::now() + std::chrono::milliseconds{50});
  for (const Worker& worker : workers) worker.put(begin);
  Contention all;
  std::int64_t done = 0;
  for (Worker& worker : workers) {
    const auto numbers = worker.finish();
    done += numbers.at(0);
    all.failed += numbers.at(1);
    all.processor += numbers.at(2);
    all.round.latencies.insert(all.round.latencies.end(), numbers.begin() + 3, numbers.end());
  }
  all.succeeded = std::ssize(all.round.latencies) - all.failed + std::ssize(workers);
  all.round.calls_per_second = static_cast<double>(done) / time.count();
  return all;
}

void contend(std::chrono::milliseconds time, const std::function<void()>& call) {
  call();
  say({1});
  const SteadyClock::time_point begin{std::chrono::nanoseconds(hear())};
  const SteadyClock::time_point end = begin + time;
  std::this_thread::sleep_until(begin);
  const Nanoseconds used_before = used_processor();
  std::int64_t done = 0;
  std::int64_t failed = 0;
  std::vector<std::int64_t> latencies;
  latencies.reserve(1 << 16);
  for (SteadyClock::time_point before = SteadyClock::now(); before < end;) {
    try {
      call();
      if (SteadyClock::now() <= end) ++done;
    } catch (const std::exception& error) {
      ++failed;
      std::cerr << "a call failed: " << error.what() << "\n";
    }
    const SteadyClock::time_point after = SteadyClock::now();
    latencies.push_back((after - before).count());
    before = after;
  }
  say({done, failed, used_processor() - used_before});
  say(latencies);
}

void say(const std::vector<std::int64_t>& numbers) {
  const char* at = reinterpret_cast<const char*>(numbers.data());
  for (std::size_t left = numbers.size() * sizeof(std::int64_t); left > 0;) {
    const ssize_t written = ::write(STDOUT_FILENO, at, left);
    if (written < 0) throw std::runtime_error("nobody listens");
    at += written;
    left -= static_cast<std::size_t>(written);
  }
}

std::int64_t hear() {
  std::int64_t number = 0;
  if (::read(STDIN_FILENO, &number, sizeof number) != sizeof number) {
    throw std::runtime_error("nobody says when to begin");
  }
  return number;
}

}  // namespace dbcache::bench
