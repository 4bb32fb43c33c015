#include "text/hex.hpp"

#include <charconv>

namespace dbcache::text {

std::string to_hex(std::span<const unsigned char> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string to_hex(std::string_view bytes) {
  return to_hex({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
}

std::string from_hex(std::string_view hex) {
  std::string bytes(hex.size() / 2, 0);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    unsigned char byte = 0;
    std::from_chars(hex.data() + 2 * at, hex.data() + 2 * at + 2, byte, 16);
    bytes[at] = static_cast<char>(byte);
  }
  return bytes;
}

}  // namespace dbcache::text
