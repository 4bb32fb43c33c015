#pragma once

#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace dbcache::input {

/// What stands in place of a secret.
inline constexpr std::string_view redaction_mark = "[redacted]";

/// Whether a key's value is a secret: a whole word of it is token, secret, password or credential,
/// or `key` right after access, account, api or private. Words end at anything that is no letter or
/// digit, and where a lower-case letter or digit meets an upper-case one (`accessKey`).
bool names_a_secret(std::string_view key);

/// Takes secrets out of what users give, before anything is decided on it.
class Redactor {
 public:
  /// `databricks_token`, where it has 16 characters or more, is taken out wherever it appears;
  /// shorter ones would take innocent text with them.
  explicit Redactor(std::string databricks_token);

  [[nodiscard]] std::string text(std::string_view given) const;

  /// Values under secret keys at any depth become the mark; so does the token, in keys too.
  [[nodiscard]] boost::json::value json(const boost::json::value& given) const;
  [[nodiscard]] boost::json::object json(const boost::json::object& given) const;

 private:
  std::string token_;
};

}  // namespace dbcache::input
