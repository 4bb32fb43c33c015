#include "store/postgres/values.hpp"

#include <charconv>

#include <fmt/format.h>

namespace dbcache::store::postgres {

Values& Values::text(std::string_view value) {
  pointers_.at(count_) = value.data() == nullptr ? "" : value.data();
  lengths_[count_] = static_cast<int>(value.size());
  formats_[count_] = 1;  // binary, so that the length counts; a text is the same in both formats
  ++count_;
  return *this;
}

Values& Values::integer(std::int64_t value) {
  auto& digits = digits_.at(count_);
  *std::to_chars(digits.data(), digits.data() + digits.size() - 1, value).ptr = '\0';
  pointers_.at(count_) = digits.data();
  formats_[count_] = 0;
  ++count_;
  return *this;
}

Values& Values::null() {
  pointers_.at(count_++) = nullptr;
  return *this;
}

std::string Values::described(std::string_view sql) const {
  std::string all(sql);
  for (std::size_t at = 0; at < count_; ++at) {
    const char* const value = pointers_[at];
    // Texts with their lengths; numbers as they are.
    all += value == nullptr ? "|"
           : formats_[at] == 1
               ? fmt::format("|{}:{}", lengths_[at],
                             std::string_view(value, static_cast<std::size_t>(lengths_[at])))
               : fmt::format("|{}", value);
  }
  return all;
}

}  // namespace dbcache::store::postgres
