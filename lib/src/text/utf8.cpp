#include "text/utf8.hpp"

#include <utf8.h>

namespace dbcache::text {

bool is_utf8(std::string_view text) { return utf8::is_valid(text); }

std::string to_valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  for (;;) {
    const std::size_t ill_formed = utf8::find_invalid(text);
    valid += text.substr(0, ill_formed);
    if (ill_formed == std::string_view::npos) return valid;
    valid += "\xEF\xBF\xBD";
    text.remove_prefix(ill_formed + 1);
  }
}

std::string_view cut_utf8(std::string_view text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (most_bytes > 0 && continues(most_bytes)) --most_bytes;
  return text.substr(0, most_bytes);
}

}  // namespace dbcache::text
