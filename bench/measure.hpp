#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

namespace dbcache::bench {

using SteadyClock = std::chrono::steady_clock;
using Nanoseconds = std::int64_t;
using Seconds = std::chrono::duration<double>;

inline Nanoseconds to_nanoseconds(SteadyClock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

/// The middle one, or the mean of the two in the middle. 0 of none.
double median(std::vector<double> values);

/// One side of a comparison, in one round.
struct Round {
  double calls_per_second = 0;
  std::vector<Nanoseconds> latencies;  ///< Of each call.
  double seconds = 0;                  ///< In which calls_per_second was measured.

  /// Goes on with the same round.
  void append(const Round& next);
};

/// Latencies in microseconds.
struct Latencies {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

/// One side of a comparison over all its rounds.
class Side {
 public:
  void add(Round round);

  /// Medians over the rounds.
  [[nodiscard]] double calls_per_second() const { return median(throughputs_); }
  [[nodiscard]] Latencies latencies() const;

  /// Of all calls of all rounds, in microseconds.
  [[nodiscard]] double worst() const;

  [[nodiscard]] boost::json::object to_json() const;

 private:
  std::vector<double> throughputs_;
  std::vector<Latencies> latencies_;
  std::size_t calls_ = 0;
};

/// Calls for so long, each call timed.
template <class Call>
Round run_for(Seconds time, Call call) {
  Round round;
  const SteadyClock::time_point begin = SteadyClock::now();
  const SteadyClock::time_point end =
      begin + std::chrono::duration_cast<SteadyClock::duration>(time);
  SteadyClock::time_point before = begin;
  while (before < end) {
    call();
    const SteadyClock::time_point after = SteadyClock::now();
    round.latencies.push_back((after - before).count());
    before = after;
  }
  round.seconds = Seconds(before - begin).count();
  round.calls_per_second = static_cast<double>(round.latencies.size()) / round.seconds;
  return round;
}

/// The same for calls so short that reading the clock would count: half of the time many calls are
/// timed together, for the throughput, the other half each.
template <class Call>
Round run_short_calls_for(Seconds time, Call call) {
  constexpr int batch = 100;
  std::int64_t calls = 0;
  const SteadyClock::time_point begin = SteadyClock::now();
  const SteadyClock::time_point end =
      begin + std::chrono::duration_cast<SteadyClock::duration>(time / 2);
  SteadyClock::time_point now = begin;
  for (; now < end; now = SteadyClock::now()) {
    for (int i = 0; i < batch; ++i) call();
    calls += batch;
  }
  Round round = run_for(time / 2, call);
  round.seconds = Seconds(now - begin).count();
  round.calls_per_second = static_cast<double>(calls) / round.seconds;
  return round;
}

/// Where and when this was measured.
boost::json::object describe_machine(const std::string& directory);

/// What everything else on the machine took of its processors since this was made: figures mean
/// something where it is next to nothing.
class OtherWork {
 public:
  OtherWork() : begin_(measure()) {}

  /// In processors: 1 is one that was busy all the time.
  [[nodiscard]] double processors() const;

 private:
  struct Measurement {
    SteadyClock::time_point time;
    double others = 0;  ///< Seconds of processor time.
  };
  static Measurement measure();
  Measurement begin_;
};

}  // namespace dbcache::bench
