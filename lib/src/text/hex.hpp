#pragma once

#include <span>
#include <string>
#include <string_view>

namespace dbcache::text {

/// Lower-case hex, two digits a byte.
std::string to_hex(std::span<const unsigned char> bytes);
std::string to_hex(std::string_view bytes);

/// The bytes of what `to_hex` gave.
std::string from_hex(std::string_view hex);

}  // namespace dbcache::text
