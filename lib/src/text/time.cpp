#include <cstdint>
#include <optional>

#include <fmt/compile.h>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/time.hpp>

#include "text/civil_time.hpp"

namespace dbcache {
namespace {

using std::chrono::microseconds;

/// Where a text is read from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  /// Exactly `count` digits as a number; nothing, and nothing read, for anything else.
  std::optional<int> digits(std::size_t count) {
    if (rest_.size() < count) return std::nullopt;
    int number = 0;
    for (const char digit : rest_.substr(0, count)) {
      if (digit < '0' || digit > '9') return std::nullopt;
      number = number * 10 + (digit - '0');
    }
    rest_.remove_prefix(count);
    return number;
  }

  bool take(char expected) {
    if (rest_.empty() || rest_.front() != expected) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// The digits after a decimal point, as microseconds; at least one must be there.
  std::optional<microseconds> fraction() {
    std::int64_t value = 0;
    int count = 0;
    for (; auto digit = digits(1); ++count) {
      if (count < 6) value = value * 10 + *digit;
    }
    if (count == 0) return std::nullopt;
    for (; count < 6; ++count) value *= 10;
    return microseconds(value);
  }

  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::optional<std::chrono::local_days> read_date(Reader& reader) {
  const auto year = reader.digits(4);
  if (!year || *year < 1 || !reader.take('-')) return std::nullopt;
  const auto month = reader.digits(2);
  if (!month || !reader.take('-')) return std::nullopt;
  const auto day = reader.digits(2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year{*year},
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  return std::chrono::local_days(date);
}

std::optional<microseconds> read_time_of_day(Reader& reader) {
  const auto hour = reader.digits(2);
  if (!hour || *hour > 23 || !reader.take(':')) return std::nullopt;
  const auto minute = reader.digits(2);
  if (!minute || *minute > 59) return std::nullopt;
  microseconds time = std::chrono::hours(*hour) + std::chrono::minutes(*minute);
  if (!reader.take(':')) return time;
  const auto second = reader.digits(2);
  if (!second || *second > 59) return std::nullopt;
  time += std::chrono::seconds(*second);
  if (!reader.take('.')) return time;
  const auto fraction = reader.fraction();
  if (!fraction) return std::nullopt;
  return time + *fraction;
}

std::optional<std::chrono::minutes> read_offset(Reader& reader) {
  if (reader.take('Z') || reader.take('z')) return std::chrono::minutes(0);
  const bool west = reader.take('-');
  if (!west && !reader.take('+')) return std::nullopt;
  const auto hours = reader.digits(2);
  if (!hours || *hours > 23) return std::nullopt;
  std::optional<int> minutes = 0;
  if (reader.take(':') || !reader.at_end()) minutes = reader.digits(2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::chrono::minutes offset = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return west ? -offset : offset;
}

void require_year_of_four_digits(Timestamp time) {
  using std::chrono::sys_days;
  using namespace std::chrono_literals;
  // Compared as a time: a year_month_day wraps around far outside of these years.
  if (time < sys_days(1y / 1 / 1) || time >= sys_days(10000y / 1 / 1)) {
    throw InvalidArgument("a time is outside the years 1 to 9999; give one within them");
  }
}

std::string format(Timestamp time, bool with_fraction) {
  require_year_of_four_digits(time);
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss<microseconds> clock(time - days);
  std::string text =
      fmt::format(FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}"), static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (with_fraction) text += fmt::format(FMT_COMPILE(".{:06}"), clock.subseconds().count());
  return text;
}

}  // namespace

namespace text {

std::optional<CivilTime> read_civil_time(std::string_view text) {
  Reader reader(text);
  const auto date = read_date(reader);
  if (!date) return std::nullopt;
  CivilTime civil{*date, std::nullopt, false};
  if (reader.at_end()) return civil;
  civil.has_t = reader.take('T') || reader.take('t');
  if (!civil.has_t && !reader.take(' ')) return std::nullopt;
  const auto time_of_day = read_time_of_day(reader);
  if (!time_of_day) return std::nullopt;
  civil.local += *time_of_day;
  if (reader.at_end()) return civil;
  civil.offset = read_offset(reader);
  if (!civil.offset || !reader.at_end()) return std::nullopt;
  return civil;
}

}  // namespace text

std::string format_timestamp(Timestamp time) { return format(time, true); }
std::string format_seconds(Timestamp time) { return format(time, false); }

Timestamp parse_timestamp(std::string_view text) {
  const auto civil = text::read_civil_time(text);
  if (!civil) {
    throw InvalidArgument(
        fmt::format("'{}' is not a time; write it as 2026-01-15T10:30:00 (UTC), or add an offset "
                    "such as +02:00",
                    text.substr(0, 64)));
  }
  const Timestamp time{civil->local.time_since_epoch() -
                       civil->offset.value_or(std::chrono::minutes(0))};
  require_year_of_four_digits(time);  // an offset may have moved it out of them
  return time;
}

}  // namespace dbcache
