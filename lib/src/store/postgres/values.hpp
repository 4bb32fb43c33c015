#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dbcache::store::postgres {

/// A statement's parameters, in order. Texts and bytes are not copied: they must live until the
/// statement is sent.
class Values {
 public:
  Values() = default;
  Values(const Values&) = delete;  // it points into itself
  Values& operator=(const Values&) = delete;

  Values& text(std::string_view value);
  Values& bytes(std::string_view value) { return text(value); }
  Values& integer(std::int64_t value);
  Values& null();

  /// A statement together with these values, to compare it with other statements.
  [[nodiscard]] std::string described(std::string_view sql) const;

 private:
  friend class Connection;
  static constexpr std::size_t most = 16;
  std::array<const char*, most> pointers_{};
  std::array<int, most> lengths_{};
  std::array<int, most> formats_{};
  std::array<std::array<char, 24>, most> digits_{};
  std::size_t count_ = 0;
};

}  // namespace dbcache::store::postgres
