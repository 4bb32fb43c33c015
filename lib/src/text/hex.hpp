#pragma once

#include <span>
#include <string>
#include <string_view>

namespace dbcache::text {

/// Lower-case hex, two digits a byte.
std::string to_hex(std::span<const unsigned char> bytes);
std::string to_hex(std::string_view bytes);

}  // namespace dbcache::text
