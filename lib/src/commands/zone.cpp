#include "commands/zone.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <system_error>

#include <cctz/civil_time.h>
#include <cctz/time_zone.h>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "text/civil_time.hpp"
#include "text/utf8.hpp"

namespace dbcache::commands {
namespace {

constexpr const char* file_of_this_machine = "/etc/localtime";

/// Reads a rule from left to right.
class RuleReader {
 public:
  explicit RuleReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool sees(char sign) const { return !rest_.empty() && rest_.front() == sign; }

  bool take(char sign) {
    if (!sees(sign)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// `CET`, or `<+03>`.
  bool name() {
    constexpr std::size_t least = 3;
    const bool quoted = take('<');
    const auto belongs = [&](char c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      return letter || (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'));
    };
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), belongs);
    const auto size = static_cast<std::size_t>(end - rest_.begin());
    rest_.remove_prefix(size);
    return size >= least && (!quoted || take('>'));
  }

  bool number(int least, int most) {
    int value = 0;
    std::size_t size = 0;
    constexpr std::size_t most_digits = 3;
    for (; size < rest_.size() && size < most_digits && rest_[size] >= '0' && rest_[size] <= '9';
         ++size) {
      value = value * 10 + (rest_[size] - '0');
    }
    rest_.remove_prefix(size);
    return size > 0 && value >= least && value <= most;
  }

  /// `[+-]hh[:mm[:ss]]`.
  bool time(int most_hours) {
    if (!take('-')) take('+');
    if (!number(0, most_hours)) return false;
    for (int part = 0; part < 2 && take(':'); ++part) {
      if (!number(0, 59)) return false;
    }
    return true;
  }

  /// The day on which the clock changes, and perhaps the time: `M3.5.0/3`, `J60`, `59`.
  bool change() {
    bool good = false;
    if (take('M')) {
      good = number(1, 12) && take('.') && number(1, 5) && take('.') && number(0, 6);
    } else if (take('J')) {
      good = number(1, 365);
    } else {
      good = number(0, 365);
    }
    constexpr int most_hours = 167;  // of a week, which RFC 8536 allows
    return good && (!take('/') || time(most_hours));
  }

 private:
  std::string_view rest_;
};

/// Names of UTC, which need no file.
bool is_utc(std::string_view name) {
  constexpr std::array<std::string_view, 9> names{"UTC",  "UCT",       "GMT",   "Universal", "Zulu",
                                                  "GMT0", "Greenwich", "GMT+0", "GMT-0"};
  if (name.starts_with("Etc/")) name.remove_prefix(4);
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Without TZ. Nothing if there is a file, but no zone can be read from it.
std::optional<cctz::time_zone> zone_of_file() {
  cctz::time_zone zone;
  if (cctz::load_time_zone(file_of_this_machine, &zone)) return zone;
  std::error_code error;
  const auto status = std::filesystem::symlink_status(file_of_this_machine, error);
  // As in the C library. Slim container images leave out the file, or the one it links to.
  if (status.type() == std::filesystem::file_type::not_found) return cctz::utc_time_zone();
  const std::string target = std::filesystem::read_symlink(file_of_this_machine, error).string();
  constexpr std::string_view folder = "zoneinfo/";
  const auto at = target.rfind(folder);
  if (at != std::string::npos && is_utc(std::string_view(target).substr(at + folder.size()))) {
    return cctz::utc_time_zone();
  }
  return std::nullopt;
}

std::optional<cctz::time_zone> named_zone(const std::string& name) {
  if (name.empty() || is_utc(name)) return cctz::utc_time_zone();
  cctz::time_zone zone;
  const bool found = cctz::load_time_zone(name == "localtime" ? file_of_this_machine : name, &zone);
  return found ? std::optional(zone) : std::nullopt;
}

cctz::time_zone find_zone(const std::string& name) {
  // Parse an offset as part of a time; only the offset matters.
  const auto with_offset = text::read_civil_time("2000-01-01T00:00" + name);
  if (with_offset && with_offset->offset) return cctz::fixed_time_zone(*with_offset->offset);
  cctz::time_zone zone;
  if (!cctz::load_time_zone(name, &zone)) {
    throw InvalidArgument(fmt::format(
        "there is no time zone '{}' on this machine; give a name such as Europe/Berlin (package "
        "tzdata), or an offset such as +02:00",
        name));
  }
  return zone;
}

std::tm calendar_of(std::chrono::local_seconds local, int daylight_saving) {
  const auto day = std::chrono::floor<std::chrono::days>(local);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(local - day);
  std::tm calendar{};
  calendar.tm_year = static_cast<int>(date.year()) - 1900;
  calendar.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  calendar.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  calendar.tm_hour = static_cast<int>(time.hours().count());
  calendar.tm_min = static_cast<int>(time.minutes().count());
  calendar.tm_sec = static_cast<int>(time.seconds().count());
  calendar.tm_isdst = daylight_saving;
  return calendar;
}

/// By the rule in TZ, which the C library reads.
std::chrono::sys_seconds by_rule(std::chrono::local_seconds local) {
  // A time that comes twice is the first one, as in zones of files: summer time.
  std::tm summer = calendar_of(local, 1);
  const std::tm wanted = summer;
  const std::time_t first = std::mktime(&summer);
  const bool is_summer =
      summer.tm_isdst == 1 && summer.tm_hour == wanted.tm_hour && summer.tm_min == wanted.tm_min;
  std::tm any = calendar_of(local, -1);
  return std::chrono::sys_seconds(std::chrono::seconds(is_summer ? first : std::mktime(&any)));
}

std::chrono::sys_seconds by_file(std::chrono::local_seconds local, const cctz::time_zone& zone) {
  const auto day = std::chrono::floor<std::chrono::days>(local);
  const std::chrono::year_month_day date(day);
  const cctz::civil_second civil =
      cctz::civil_second(static_cast<int>(date.year()), static_cast<int>(unsigned(date.month())),
                         static_cast<int>(unsigned(date.day()))) +
      (local - day).count();
  return std::chrono::time_point_cast<std::chrono::seconds>(cctz::convert(civil, zone));
}

}  // namespace

/// At most one of the three is set; none if the rule in TZ holds.
struct Zone::Rules {
  std::optional<cctz::time_zone> zone;
  std::string unknown;  ///< Why this machine's zone is not known.
};

bool is_posix_rule(std::string_view text) {
  constexpr int most_hours = 24;
  RuleReader reader(text);
  if (!reader.name() || !reader.time(most_hours)) return false;
  if (reader.at_end()) return true;
  if (!reader.name()) return false;
  if (!reader.at_end() && !reader.sees(',') && !reader.time(most_hours)) return false;
  if (reader.at_end()) return true;
  return reader.take(',') && reader.change() && reader.take(',') && reader.change() &&
         reader.at_end();
}

Zone::Zone(const std::string& name) {
  Rules rules;
  if (!name.empty()) {
    rules.zone = find_zone(name);
    name_ = rules.zone->name();
  } else {
    name_ = "this machine's zone";
    const char* const variable = std::getenv("TZ");
    std::string given = variable == nullptr ? "" : variable;
    if (given.starts_with(':')) given.erase(0, 1);
    rules.zone = variable == nullptr ? zone_of_file() : named_zone(given);
    if (!rules.zone && !(variable != nullptr && is_posix_rule(given))) {
      rules.unknown = variable == nullptr
                          ? fmt::format("{} holds no zone", file_of_this_machine)
                          : fmt::format("TZ is '{}'", text::to_valid_utf8(variable));
    }
  }
  rules_ = std::make_shared<const Rules>(std::move(rules));
}

Timestamp Zone::to_utc(std::chrono::local_time<std::chrono::microseconds> local) const {
  if (!rules_->unknown.empty()) {
    throw InvalidArgument(fmt::format(
        "the database has local times, and this machine's time zone cannot be found: {} (is the "
        "package tzdata missing?); give the zone in which they were written, by --adopt-timezone "
        "or Options::adoption_timezone: a name such as Europe/Berlin, or an offset such as +02:00",
        rules_->unknown));
  }
  const auto second = std::chrono::floor<std::chrono::seconds>(local);
  const std::chrono::sys_seconds utc =
      rules_->zone ? by_file(second, *rules_->zone) : by_rule(second);
  return Timestamp(utc.time_since_epoch()) + (local - second);
}

}  // namespace dbcache::commands
