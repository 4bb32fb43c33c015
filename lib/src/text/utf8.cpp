#include "text/utf8.hpp"

#include <array>

namespace dbcache::text {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

constexpr unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

}  // namespace

std::optional<CodePoint> first_code_point(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const unsigned char lead = byte_at(text, 0);
  if (lead < 0x80) return CodePoint{lead, 1};
  const std::size_t size = (lead & 0xE0) == 0xC0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : 4;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return std::nullopt;
  char32_t value = lead & (0xFFU >> (size + 1));
  for (std::size_t at = 1; at < size; ++at) {
    if ((byte_at(text, at) & 0xC0) != 0x80) return std::nullopt;
    value = (value << 6) | (byte_at(text, at) & 0x3F);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least[size] || surrogate || value > 0x10FFFF) return std::nullopt;
  return CodePoint{value, size};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto point = first_code_point(text);
    if (!point) return false;
    text.remove_prefix(point->size);
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const auto point = first_code_point(text);
    const std::size_t size = point ? point->size : 1;
    valid += point ? text.substr(0, size) : replacement;
    text.remove_prefix(size);
  }
  return valid;
}

std::string_view cut_utf8(std::string_view text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  while (most_bytes > 0 && (byte_at(text, most_bytes) & 0xC0) == 0x80) --most_bytes;
  return text.substr(0, most_bytes);
}

}  // namespace dbcache::text
