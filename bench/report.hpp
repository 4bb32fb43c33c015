#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "bench/measure.hpp"

namespace dbcache::bench {

enum class Unit { per_second, microseconds, milliseconds, mebibytes, times, calls };

/// What a row must come to. The ratio is ours over the baseline.
struct Goal {
  enum class Of { ratio, ours };
  enum class Bound { at_least, at_most };
  Of of = Of::ratio;
  Bound bound = Bound::at_least;
  double value = 0;
};
inline Goal ratio_at_least(double value) { return {Goal::Of::ratio, Goal::Bound::at_least, value}; }
inline Goal ratio_at_most(double value) { return {Goal::Of::ratio, Goal::Bound::at_most, value}; }
inline Goal ours_at_most(double value) { return {Goal::Of::ours, Goal::Bound::at_most, value}; }

/// One line of the table.
struct Comparison {
  int row = 0;  ///< The target's number.
  std::string what;
  Unit unit = Unit::per_second;
  double ours = 0;
  double baseline = 0;
  std::optional<Goal> goal;  ///< Nothing: shown for what it is.

  [[nodiscard]] double ratio() const { return baseline == 0 ? 0 : ours / baseline; }
  [[nodiscard]] bool met() const;
};

/// What was measured, for people and for programs.
class Report {
 public:
  /// Tells of a line as it comes, too: a run takes minutes.
  void add(Comparison comparison);
  void add_latencies(int row, const std::string& what, const Side& side);
  /// Something that a reader of the table must know.
  void note(const std::string& text);

  void print(std::ostream& out, const boost::json::object& machine) const;
  [[nodiscard]] boost::json::object to_json(const boost::json::object& machine) const;

 private:
  struct Line {
    int row = 0;
    std::string what;
    Latencies latencies;
    double worst = 0;
  };
  std::vector<Comparison> comparisons_;
  std::vector<Line> lines_;
  std::vector<std::string> notes_;
  boost::json::array sides_;
};

}  // namespace dbcache::bench
