#include "bench/measure.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sqlite3.h>
#include <unistd.h>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <dbcache/version.hpp>

namespace json = boost::json;

namespace dbcache::bench {
namespace {

double round_to_nanoseconds(double microseconds) { return std::round(microseconds * 1000) / 1000; }

/// The smallest that this share of all does not exceed, in microseconds.
double rank(const std::vector<Nanoseconds>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted.at(std::max<std::size_t>(at, 1) - 1)) / 1000;
}

std::string first_value(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const auto colon = line.find(':');
    const auto begin = line.find_first_not_of(" \t", colon + 1);
    if (colon != std::string::npos && begin != std::string::npos) return line.substr(begin);
  }
  return "unknown";
}

/// The type of the file system that holds `directory`: of the longest mount point above it.
std::string file_system_of(const std::string& directory) {
  std::ifstream mounts("/proc/self/mounts");
  std::string type = "unknown";
  std::size_t longest = 0;
  std::string line;
  for (std::string device, point, kind; mounts >> device >> point >> kind;) {
    std::getline(mounts, line);
    const bool above =
        directory.rfind(point, 0) == 0 &&
        (point == "/" || directory.size() == point.size() || directory[point.size()] == '/');
    if (above && point.size() >= longest) {
      longest = point.size();
      type = kind;
    }
  }
  return type;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void Round::append(const Round& next) {
  const double calls = calls_per_second * seconds + next.calls_per_second * next.seconds;
  seconds += next.seconds;
  calls_per_second = calls / seconds;
  latencies.insert(latencies.end(), next.latencies.begin(), next.latencies.end());
}

void Side::add(Round round) {
  auto& latencies = round.latencies;
  std::sort(latencies.begin(), latencies.end());
  throughputs_.push_back(round.calls_per_second);
  latencies_.push_back(
      {rank(latencies, 0.5), rank(latencies, 0.99), rank(latencies, 0.999), rank(latencies, 1)});
  calls_ += latencies.size();
}

Latencies Side::latencies() const {
  const auto median_of = [this](double Latencies::*member) {
    std::vector<double> values;
    for (const Latencies& round : latencies_) values.push_back(round.*member);
    return median(std::move(values));
  };
  return {median_of(&Latencies::p50), median_of(&Latencies::p99), median_of(&Latencies::p999),
          median_of(&Latencies::max)};
}

double Side::worst() const {
  double worst = 0;
  for (const Latencies& round : latencies_) worst = std::max(worst, round.max);
  return worst;
}

json::object Side::to_json() const {
  const Latencies middle = latencies();
  return {{"calls", calls_},
          {"calls_per_second", std::round(calls_per_second())},
          {"calls_per_second_of_rounds", json::array(throughputs_.begin(), throughputs_.end())},
          {"p50_us", round_to_nanoseconds(middle.p50)},
          {"p99_us", round_to_nanoseconds(middle.p99)},
          {"p999_us", round_to_nanoseconds(middle.p999)},
          {"max_us", round_to_nanoseconds(middle.max)},
          {"worst_us", round_to_nanoseconds(worst())}};
}

json::object describe_machine(const std::string& directory) {
  utsname kernel{};
  ::uname(&kernel);
  std::array<double, 3> load{};
  static_cast<void>(::getloadavg(load.data(), 3));
  return {{"processor", first_value("/proc/cpuinfo", "model name")},
          {"processors", ::sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory", first_value("/proc/meminfo", "MemTotal")},
          {"kernel", fmt::format("{} {}", kernel.sysname, kernel.release)},
          {"file_system", file_system_of(directory)},
          {"sqlite", sqlite3_libversion()},
          {"dbcache", DBCACHE_VERSION},
          {"load_average_1m", fmt::format("{:.2f}", load[0])},
          {"date",
           fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::now()))}};
}

double OtherWork::processors() const {
  const Measurement end = measure();
  const double time = Seconds(end.time - begin_.time).count();
  return std::max(0.0, (end.others - begin_.others) / time);
}

OtherWork::Measurement OtherWork::measure() {
  // user, nice, system, idle, iowait, irq, softirq, steal; the last is other machines' (proc(5)).
  std::ifstream stat("/proc/stat");
  std::string word;
  stat >> word;
  double all = 0;
  for (int at = 0; at < 8; ++at) {
    double ticks = 0;
    stat >> ticks;
    if (at != 3 && at != 4) all += ticks;
  }
  all /= static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage own{};
    ::getrusage(who, &own);
    for (const timeval& time : {own.ru_utime, own.ru_stime}) {
      all -= static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    }
  }
  return {SteadyClock::now(), all};
}

}  // namespace dbcache::bench
