#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dbcache::text {

/// As RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

/// `text` with every ill-formed byte replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

/// At most `most_bytes` of valid UTF-8, cut between code points.
std::string_view cut_utf8(std::string_view text, std::size_t most_bytes);

}  // namespace dbcache::text
