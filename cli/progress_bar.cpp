#include "cli/progress_bar.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace dbcache::cli {
namespace {

constexpr std::chrono::milliseconds before_first_drawing{500};
constexpr std::chrono::milliseconds between_drawings{100};
constexpr std::int64_t width = 30;

}  // namespace

ProgressBar::ProgressBar(Terminal& terminal, Now now)
    : err_(terminal.err),
      is_terminal_(terminal.err_is_terminal),
      now_(std::move(now)),
      next_(now_() + before_first_drawing) {}

ProgressBar::~ProgressBar() {
  if (drawn_) err_ << erase_line << std::flush;
}

void ProgressBar::show(const LogProgress& progress) {
  if (!is_terminal_ || progress.events_total <= 0 || now_() < next_) return;
  next_ = now_() + between_drawings;
  drawn_ = true;
  // Other processes may append events after the total was counted.
  const std::int64_t done = std::min(progress.events_done, progress.events_total);
  const auto filled = static_cast<std::size_t>(done * width / progress.events_total);
  err_ << erase_line
       << fmt::format("[{:<{}}] {:3}%  {} of {} events", std::string(filled, '#'), width,
                      done * 100 / progress.events_total, done, progress.events_total)
       << std::flush;
}

}  // namespace dbcache::cli
