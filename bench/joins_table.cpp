#include "bench/joins_table.hpp"

#include <algorithm>
#include <cmath>

#include <boost/json/object.hpp>
#include <fmt/format.h>

namespace json = boost::json;

namespace dbcache::bench {
namespace {

double ratio_of(double ours, double other) { return other == 0 ? 0 : ours / other; }

std::string text_of(const Others& others) {
  if (others.leases == 0) return "nobody";
  return fmt::format("{} others on {} {}", others.leases, others.spread,
                     others.held          ? "measured configurations"
                     : others.spread == 1 ? "configuration"
                                          : "configurations");
}

/// Of the columns `others` and `spread`.
std::string spread_of(const Others& others) {
  if (others.leases == 0) return "-";
  return fmt::format("{}{}", others.spread, others.held ? " held" : "");
}

json::object json_of(const Others& others) {
  return {{"others", others.leases}, {"spread", others.spread}, {"held", others.held}};
}

/// Those of one number of processes together, in the order in which they were measured.
std::vector<JoinsLine> by_processes(std::vector<JoinsLine> lines) {
  std::stable_sort(lines.begin(), lines.end(), [](const JoinsLine& a, const JoinsLine& b) {
    return a.processes < b.processes;
  });
  return lines;
}

const JoinsLine* beside_nobody(const std::vector<JoinsLine>& lines, int processes) {
  const auto found = std::find_if(lines.begin(), lines.end(), [&](const JoinsLine& line) {
    return line.processes == processes && line.others.leases == 0;
  });
  return found == lines.end() ? nullptr : &*found;
}

void print_joins(std::ostream& out, const std::vector<JoinsLine>& lines) {
  out << "Acquire and release of a ready cluster. Calls a second: medians of the rounds; p50 and\n"
         "p99: medians, in ms; worst: of all rounds, in ms; cpu: of a call of ours, in us.\n\n";
  out << fmt::format(
      "{:<8} {:>5} {:<6} {:>7} {:>9} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8}\n", "engine",
      "procs", "config", "others", "spread", "ours/s", "raw/s", "ratio", "p50", "p99", "worst",
      "raw worst", "cpu");
  for (const JoinsLine& line : lines) {
    const Latencies latencies = line.ours.side().latencies();
    out << fmt::format(
        "{:<8} {:>5} {:<6} {:>7} {:>9} {:>9.1f} {:>9.1f} {:>6.2f} {:>9.3f} {:>9.3f} {:>9.3f} "
        "{:>9.3f} {:>8.1f}\n",
        line.engine, line.processes, line.same ? "same" : "own", line.others.leases,
        spread_of(line.others), line.ours.per_second(), line.raw.per_second(),
        ratio_of(line.ours.per_second(), line.raw.per_second()), latencies.p50 / 1000,
        latencies.p99 / 1000, line.ours.side().worst() / 1000, line.raw.side().worst() / 1000,
        line.ours.processor());
  }
  out << "\n";
  for (const JoinsLine& line : lines) {
    const JoinsLine* const alone = beside_nobody(lines, line.processes);
    if (line.others.leases == 0 || alone == nullptr) continue;
    out << fmt::format("{} process{}, beside {}: {:.2f} of beside nobody (raw: {:.2f})\n",
                       line.processes, line.processes == 1 ? "" : "es", text_of(line.others),
                       ratio_of(line.ours.per_second(), alone->ours.per_second()),
                       ratio_of(line.raw.per_second(), alone->raw.per_second()));
  }
  for (const JoinsLine& line : lines) {
    if (line.ours.failed() + line.raw.failed() == 0) continue;
    out << fmt::format("FAILED calls: {} of ours, {} of raw, by {} beside {}\n", line.ours.failed(),
                       line.raw.failed(), line.processes, text_of(line.others));
  }
}

void print_sweeps(std::ostream& out, const std::vector<SweepLine>& lines) {
  out << "SharedClusters::owed(), which sweeps. Median of the rounds' medians and worst, in ms; "
         "cpu\n"
         "of a call, in ms.\n\n";
  out << fmt::format("{:<8} {:>7} {:>9} {:>10} {:>10} {:>10} {:>7}\n", "engine", "others", "spread",
                     "median", "worst", "cpu", "failed");
  for (const SweepLine& line : lines) {
    out << fmt::format("{:<8} {:>7} {:>9} {:>10.3f} {:>10.3f} {:>10.3f} {:>7}\n", line.engine,
                       line.others.leases, spread_of(line.others),
                       line.sweeps.side().latencies().p50 / 1000, line.sweeps.side().worst() / 1000,
                       line.sweeps.processor() / 1000, line.sweeps.failed());
  }
}

void print_crowds(std::ostream& out, const std::vector<CrowdLine>& lines) {
  out << "Workers that acquire at one moment, a new database each round. When all hold they are\n"
         "killed, and sweeps find them.\n\n";
  out << fmt::format("{:<8} {:>7} {:>9} {:>14} {:>13} {:>7} {:>6} {:>14} {:>12} {:>6}\n", "engine",
                     "workers", "processes", "configurations", "s until held", "creates", "failed",
                     "s until found", "leases left", "owed");
  std::vector<double> seconds;
  for (const CrowdLine& line : lines) {
    seconds.push_back(line.seconds);
    out << fmt::format("{:<8} {:>7} {:>9} {:>14} {:>13.3f} {:>7} {:>6} {:>14.3f} {:>12} {:>6}\n",
                       line.engine, line.workers, line.processes, line.configurations, line.seconds,
                       line.created, line.failed, line.seconds_to_find, line.left, line.owed);
  }
  out << fmt::format("\nuntil held, median: {:.3f} s, worst: {:.3f} s\n", median(seconds),
                     *std::max_element(seconds.begin(), seconds.end()));
}

}  // namespace

void Calls::add(Contention contention) {
  processor_ += contention.processor;
  calls_ += std::ssize(contention.round.latencies);
  failed_ += contention.failed;
  side_.add(std::move(contention.round));
}

double Calls::processor() const {
  return ratio_of(static_cast<double>(processor_) / 1000, static_cast<double>(calls_));
}

json::object Calls::to_json() const {
  json::object object = side_.to_json();
  object["processor_us"] = std::round(processor() * 10) / 10;
  object["failed"] = failed_;
  return object;
}

void JoinsResults::print(std::ostream& out) const {
  if (!joins.empty()) print_joins(out, by_processes(joins));
  if (!sweeps.empty()) print_sweeps(out, sweeps);
  if (!crowds.empty()) print_crowds(out, crowds);
}

json::object JoinsResults::to_json() const {
  json::object all;
  for (const JoinsLine& line : by_processes(joins)) {
    json::object object = json_of(line.others);
    object["engine"] = line.engine;
    object["processes"] = line.processes;
    object["configuration"] = line.same ? "same" : "own";
    object["ours"] = line.ours.to_json();
    object["raw"] = line.raw.to_json();
    object["ratio"] = ratio_of(line.ours.per_second(), line.raw.per_second());
    if (const JoinsLine* const alone = beside_nobody(joins, line.processes)) {
      object["of_beside_nobody"] = ratio_of(line.ours.per_second(), alone->ours.per_second());
    }
    if (!all.contains("joins")) all["joins"] = json::array();
    all["joins"].as_array().push_back(object);
  }
  for (const SweepLine& line : sweeps) {
    json::object object = json_of(line.others);
    object["engine"] = line.engine;
    object["sweeps"] = line.sweeps.to_json();
    if (!all.contains("sweeps")) all["sweeps"] = json::array();
    all["sweeps"].as_array().push_back(object);
  }
  for (const CrowdLine& line : crowds) {
    if (!all.contains("crowds")) all["crowds"] = json::array();
    all["crowds"].as_array().push_back({{"engine", line.engine},
                                        {"workers", line.workers},
                                        {"processes", line.processes},
                                        {"configurations", line.configurations},
                                        {"seconds", line.seconds},
                                        {"created", line.created},
                                        {"failed", line.failed},
                                        {"seconds_to_find", line.seconds_to_find},
                                        {"left", line.left},
                                        {"owed", line.owed}});
  }
  return all;
}

std::string to_text(const JoinsLine& line) {
  return fmt::format("{}, {} process{}, {} configuration, beside {}: ours {:.1f}/s, raw {:.1f}/s",
                     line.engine, line.processes, line.processes == 1 ? "" : "es",
                     line.same ? "one" : "each its", text_of(line.others), line.ours.per_second(),
                     line.raw.per_second());
}

std::string to_text(const SweepLine& line) {
  return fmt::format("{}, a sweep beside {}: median {:.3f} ms, worst {:.3f} ms", line.engine,
                     text_of(line.others), line.sweeps.side().latencies().p50 / 1000,
                     line.sweeps.side().worst() / 1000);
}

std::string to_text(const CrowdLine& line) {
  return fmt::format(
      "{}, {} workers: {:.3f} s until all held, {} creates, {} failed; killed: {:.3f} s until "
      "found, {} leases left, {} owed",
      line.engine, line.workers, line.seconds, line.created, line.failed, line.seconds_to_find,
      line.left, line.owed);
}

}  // namespace dbcache::bench
