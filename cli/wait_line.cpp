#include "cli/wait_line.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

std::string_view activity(WaitProgress::For waits_for) {
  switch (waits_for) {
    case WaitProgress::For::creator:
      return "creates the cluster";
    case WaitProgress::For::checker:
      return "checks the cluster";
    case WaitProgress::For::cluster:
      return "creating the cluster";
  }
  return "";
}

}  // namespace

void WaitLine::show(const WaitProgress& progress) {
  std::string who(activity(progress.waits_for));
  if (progress.waits_for != WaitProgress::For::cluster) {
    who = fmt::format("waiting: {} {}", escape(holder_text(progress.holder)), who);
  }
  if (!progress.doing.empty()) who += fmt::format(": {}", escape(progress.doing));
  if (!terminal_.err_is_terminal) {
    if (who != last_printed_) print_diagnostic(terminal_, who);
    last_printed_ = who;
    return;
  }
  drawn_ = true;
  terminal_.err << erase_line
                << fmt::format("{}, for {} now (waited {})", who,
                               duration_text(now() - progress.since),
                               duration_text(progress.waited))
                << std::flush;
}

void WaitLine::erase() {
  if (drawn_) terminal_.err << erase_line << std::flush;
  drawn_ = false;
}

Timestamp WaitLine::now() const {
  if (terminal_.clock) return terminal_.clock();
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

std::string duration_text(std::chrono::microseconds duration) {
  using namespace std::chrono;
  // Clocks of two machines may differ.
  const auto whole = std::max(floor<seconds>(duration), seconds{0});
  const auto minutes_of = floor<minutes>(whole);
  const auto hours_of = floor<hours>(whole);
  if (whole < minutes{1}) return fmt::format("{} s", whole.count());
  if (whole < hours{1}) {
    return fmt::format("{} min {} s", minutes_of.count(), (whole - minutes_of).count());
  }
  return fmt::format("{} h {} min", hours_of.count(), (minutes_of - hours_of).count());
}

std::string holder_text(const HolderInfo& holder) {
  std::string text = fmt::format("pid {} on {}", holder.pid, holder.host);
  if (holder.label && !holder.label->empty()) text += ", label " + *holder.label;
  return text;
}

}  // namespace dbcache::cli
