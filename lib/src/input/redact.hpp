#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

namespace dbcache::input {

/// Replaces a secret.
inline constexpr std::string_view redaction_mark = "[redacted]";

/// Whether the value of a key is a secret: a whole word of the key is token, secret, password or
/// credential, or `key` right after access, account, api or private. A word ends at any character
/// that is not a letter or digit, and before a capital after a lower-case letter or digit
/// (`accessKey`).
bool names_a_secret(std::string_view key);

/// From now on every Redactor of this process removes `secret`, such as a token that a workspace
/// gave. Ignores one of less than 16 characters, which could match innocent text, and one that is
/// known already. The oldest of 256 is forgotten: keep one that is still used at each use.
/// Thread-safe, also beside a fork.
void keep_secret(std::string_view secret);

/// Removes secrets from what users give, before any decision on it.
class Redactor {
 public:
  /// Also removes everywhere, if it has 16 characters or more: `databricks_token`, the values of
  /// DATABRICKS_CLIENT_SECRET, DATABRICKS_OIDC_TOKEN and ACTIONS_ID_TOKEN_REQUEST_TOKEN, and what
  /// `keep_secret` was given.
  explicit Redactor(std::string databricks_token);

  [[nodiscard]] std::string text(std::string_view given) const;

  /// Replaces values of secret keys at any depth by the mark, and also the token, even in keys.
  [[nodiscard]] boost::json::value json(const boost::json::value& given) const;
  [[nodiscard]] boost::json::object json(const boost::json::object& given) const;

 private:
  std::vector<std::string> secrets_;
};

}  // namespace dbcache::input
