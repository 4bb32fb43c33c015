#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dbcache::text {

/// A code point and its size in bytes.
struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;
};

/// The first code point of `text`. Nothing if `text` is empty or does not begin with well-formed
/// UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
std::optional<CodePoint> first_code_point(std::string_view text);

bool is_utf8(std::string_view text);

/// `text` with every ill-formed byte replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

/// At most `most_bytes` of valid UTF-8, cut between code points.
std::string_view cut_utf8(std::string_view text, std::size_t most_bytes);

}  // namespace dbcache::text
