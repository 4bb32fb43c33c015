#pragma once

#include <filesystem>
#include <string>

#include "bench/measure.hpp"
#include "bench/report.hpp"

namespace dbcache::bench {

/// How long to measure, and on what.
struct Settings {
  int rounds = 5;
  Seconds round{2};       ///< Of one side in one round.
  Seconds contention{4};  ///< The same where processes contend.
  std::int64_t streams = 1000;
  std::int64_t few_events = 10'000;
  std::int64_t replayed_events = 1'000'000;  ///< Of the log whose replay is timed.
  std::int64_t status_events = 1'000'000;
  std::int64_t many_events = 10'000'000;
  int starts = 30;  ///< Of the command line.
  std::filesystem::path directory;
};

Settings quick_settings();

/// The rows of the table, by the number of the target.
void measure_one_thread(const Settings& settings, Report& report);
void measure_threads(const Settings& settings, Report& report);
void measure_processes(const Settings& settings, Report& report);
void measure_reads(const Settings& settings, Report& report);
void measure_replay(const Settings& settings, Report& report);
void measure_growth(const Settings& settings, Report& report);
void measure_start(const Settings& settings, Report& report);
void measure_waiting_memory(const Settings& settings, Report& report);

}  // namespace dbcache::bench
