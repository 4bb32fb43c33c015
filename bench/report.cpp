#include "bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <iostream>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace json = boost::json;

namespace dbcache::bench {
namespace {

std::string_view name_of(Unit unit) {
  switch (unit) {
    case Unit::per_second:
      return "/s";
    case Unit::microseconds:
      return " µs";
    case Unit::milliseconds:
      return " ms";
    case Unit::mebibytes:
      return " MiB";
    case Unit::times:
      return " x";
    case Unit::calls:
      return "";
  }
  return "";
}

/// Three digits or more, thousands apart.
std::string number_text(double value) {
  if (value != 0 && std::abs(value) < 10) return fmt::format("{:.2f}", value);
  if (value != 0 && std::abs(value) < 100) return fmt::format("{:.1f}", value);
  std::string digits = fmt::format("{:.0f}", value);
  for (std::ptrdiff_t at = std::ssize(digits) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string quantity(double value, Unit unit) {
  return fmt::format("{}{}", number_text(value), name_of(unit));
}

std::string goal_text(const Comparison& comparison) {
  if (!comparison.goal) return "";
  const Goal& goal = *comparison.goal;
  const std::string_view bound = goal.bound == Goal::Bound::at_least ? ">=" : "<=";
  if (goal.of == Goal::Of::ratio) return fmt::format("{} {:g} x", bound, goal.value);
  return fmt::format("{} {:g}{}", bound, goal.value, name_of(comparison.unit));
}

std::string verdict(const Comparison& comparison) {
  if (!comparison.goal) return "";
  return comparison.met() ? "yes" : "NO";
}

/// How wide a text is: its characters, not its bytes.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

using Cells = std::vector<std::string>;

/// As Markdown has it, so that it can stand in a document; the first two columns to the left.
void print_table(std::ostream& out, const std::vector<Cells>& lines) {
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const Cells& cells : lines) {
    for (std::size_t at = 0; at < cells.size(); ++at) {
      widths[at] = std::max(widths[at], width(cells[at]));
    }
  }
  const auto is_left = [](std::size_t at) { return at < 2; };
  const auto print_line = [&](const Cells& cells) {
    for (std::size_t at = 0; at < cells.size(); ++at) {
      const std::string padding(widths[at] - width(cells[at]), ' ');
      out << "| " << (is_left(at) ? cells[at] + padding : padding + cells[at]) << ' ';
    }
    out << "|\n";
  };
  print_line(lines.front());
  for (std::size_t at = 0; at < widths.size(); ++at) {
    out << '|' << std::string(widths[at] + 1, '-') << (is_left(at) ? "-" : ":");
  }
  out << "|\n";
  std::for_each(lines.begin() + 1, lines.end(), print_line);
}

Cells cells_of(const Comparison& comparison) {
  return {std::to_string(comparison.row),
          comparison.what,
          quantity(comparison.ours, comparison.unit),
          quantity(comparison.baseline, comparison.unit),
          comparison.baseline == 0 ? "" : fmt::format("{:.2f}", comparison.ratio()),
          goal_text(comparison),
          verdict(comparison)};
}

}  // namespace

bool Comparison::met() const {
  if (!goal) return true;
  const double value = goal->of == Goal::Of::ratio ? ratio() : ours;
  return goal->bound == Goal::Bound::at_least ? value >= goal->value : value <= goal->value;
}

void Report::add(Comparison comparison) {
  for (const std::string& cell : cells_of(comparison)) std::cerr << cell << "  ";
  std::cerr << std::endl;
  comparisons_.push_back(std::move(comparison));
}

void Report::add_latencies(int row, const std::string& what, const Side& side) {
  lines_.push_back({row, what, side.latencies(), side.worst()});
  json::object object = side.to_json();
  object["row"] = row;
  object["what"] = what;
  sides_.emplace_back(std::move(object));
}

void Report::note(const std::string& text) { notes_.push_back(text); }

void Report::print(std::ostream& out, const json::object& machine) const {
  for (const auto& [key, value] : machine) {
    out << std::string_view(key.data(), key.size()) << ": "
        << (value.is_string() ? std::string(value.get_string()) : json::serialize(value)) << "\n";
  }
  out << "\n";
  std::vector<Cells> table{{"row", "what", "ours", "baseline", "ratio", "target", "met"}};
  for (const Comparison& comparison : comparisons_) table.push_back(cells_of(comparison));
  print_table(out, table);
  if (!lines_.empty()) {
    out << "\nLatencies in µs: medians over the rounds, and the worst of all rounds.\n\n";
    std::vector<Cells> latencies{{"row", "what", "p50", "p99", "p99.9", "max", "worst"}};
    for (const Line& line : lines_) {
      latencies.push_back({std::to_string(line.row), line.what, number_text(line.latencies.p50),
                           number_text(line.latencies.p99), number_text(line.latencies.p999),
                           number_text(line.latencies.max), number_text(line.worst)});
    }
    print_table(out, latencies);
  }
  if (!notes_.empty()) out << "\n";
  for (const std::string& text : notes_) out << text << "\n";
}

json::object Report::to_json(const json::object& machine) const {
  json::array table;
  for (const Comparison& comparison : comparisons_) {
    json::object line{{"row", comparison.row},
                      {"what", comparison.what},
                      {"unit", name_of(comparison.unit)},
                      {"ours", comparison.ours},
                      {"baseline", comparison.baseline},
                      {"ratio", comparison.ratio()}};
    if (comparison.goal) {
      line["target"] = goal_text(comparison);
      line["met"] = comparison.met();
    }
    table.emplace_back(std::move(line));
  }
  return {{"machine", machine},
          {"table", std::move(table)},
          {"latencies", sides_},
          {"notes", json::array(notes_.begin(), notes_.end())}};
}

}  // namespace dbcache::bench
