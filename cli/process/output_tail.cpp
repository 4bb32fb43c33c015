#include "cli/process/output_tail.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace dbcache::cli {
namespace {

constexpr std::size_t tail_bytes = 4096;
constexpr std::size_t most_lines = 5;
constexpr std::string_view white_space = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(white_space);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

}  // namespace

void OutputTail::add(std::string_view bytes) {
  bytes_ += bytes;
  if (bytes_.size() <= tail_bytes) return;
  bytes_.erase(0, bytes_.size() - tail_bytes);
  cut_ = true;
}

/// Drops a line whose beginning was cut: without it, a secret would not be recognised.
std::string_view OutputTail::whole_lines() const {
  std::string_view text = bytes_;
  if (cut_) text.remove_prefix(std::min(text.find('\n'), text.size()));
  return trimmed(text);
}

std::string OutputTail::last_line() const {
  const std::string_view text = whole_lines();
  return std::string(trimmed(text.substr(text.find_last_of('\n') + 1)));
}

std::string OutputTail::last_lines() const {
  std::string lines;
  std::string_view text = whole_lines();
  for (std::size_t count = 0; count < most_lines && !text.empty(); ++count) {
    const auto before = text.find_last_of('\n') + 1;
    const std::string line(trimmed(text.substr(before)));
    lines.insert(0, lines.empty() ? line : fmt::format("{} | ", line));
    text = trimmed(text.substr(0, before));
  }
  return lines;
}

}  // namespace dbcache::cli
