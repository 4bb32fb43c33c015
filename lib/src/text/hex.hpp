#pragma once

#include <span>
#include <string>
#include <string_view>

namespace dbcache::text {

/// Lower-case hex, two digits per byte.
std::string to_hex(std::span<const unsigned char> bytes);
std::string to_hex(std::string_view bytes);

/// The bytes of a text that `to_hex` made.
std::string from_hex(std::string_view hex);

}  // namespace dbcache::text
