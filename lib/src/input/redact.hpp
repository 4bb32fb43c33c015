#pragma once

#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace dbcache::input {

/// Replaces a secret.
inline constexpr std::string_view redaction_mark = "[redacted]";

/// Whether the value of a key is a secret: a whole word of the key is token, secret, password or
/// credential, or `key` right after access, account, api or private. A word ends at any character
/// that is not a letter or digit, and before a capital after a lower-case letter or digit
/// (`accessKey`).
bool names_a_secret(std::string_view key);

/// Removes secrets from what users give, before any decision on it.
class Redactor {
 public:
  /// Also removes `databricks_token` everywhere if it has 16 characters or more. A shorter one
  /// could match innocent text.
  explicit Redactor(std::string databricks_token);

  [[nodiscard]] std::string text(std::string_view given) const;

  /// Replaces values of secret keys at any depth by the mark, and also the token, even in keys.
  [[nodiscard]] boost::json::value json(const boost::json::value& given) const;
  [[nodiscard]] boost::json::object json(const boost::json::object& given) const;

 private:
  std::string token_;
};

}  // namespace dbcache::input
