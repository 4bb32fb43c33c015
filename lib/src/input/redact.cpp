#include "input/redact.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include <boost/algorithm/string/replace.hpp>

#include <dbcache/errors.hpp>

#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache::input {
namespace {

constexpr std::size_t least_token_size = 16;

constexpr std::array<std::string_view, 4> secret_words{"token", "secret", "password", "credential"};
constexpr std::array<std::string_view, 4> before_key{"access", "account", "api", "private"};

template <std::size_t Count>
bool is_one_of(const std::array<std::string_view, Count>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

std::vector<std::string> words_of(std::string_view key) {
  std::vector<std::string> words(1);
  char previous = 0;
  for (std::size_t at = 0; at < key.size(); ++at) {
    const char c = key[at];
    const bool letter_or_digit = is_lower_or_digit(c) || is_upper(c);
    // `accessKey` is split before K, and `APIKey` before the last capital of the run.
    const bool begins_word =
        is_upper(c) && (is_lower_or_digit(previous) || (is_upper(previous) && at + 1 < key.size() &&
                                                        key[at + 1] >= 'a' && key[at + 1] <= 'z'));
    if ((!letter_or_digit || begins_word) && !words.back().empty()) words.emplace_back();
    if (letter_or_digit) words.back() += is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
    previous = c;
  }
  return words;
}

/// Limits the recursion. `json_text` could not write deeper JSON anyway.
void require_depth(int depth) {
  if (depth > text::max_json_depth) {
    throw InvalidArgument("the configuration nests deeper than 32 levels; flatten it");
  }
}

}  // namespace

bool names_a_secret(std::string_view key) {
  const std::vector<std::string> words = words_of(key);
  for (std::size_t at = 0; at < words.size(); ++at) {
    if (is_one_of(secret_words, words[at])) return true;
    if (at > 0 && words[at] == "key" && is_one_of(before_key, words[at - 1])) return true;
  }
  return false;
}

Redactor::Redactor(std::string databricks_token) {
  if (databricks_token.size() >= least_token_size) token_ = std::move(databricks_token);
}

std::string Redactor::text(std::string_view given) const {
  std::string text(given);
  if (!token_.empty()) boost::algorithm::replace_all(text, token_, redaction_mark);
  return text;
}

namespace {

json::value redact(const Redactor& redactor, const json::value& given, int depth);

json::object redact(const Redactor& redactor, const json::object& given, int depth) {
  require_depth(depth);
  json::object clean;
  for (const auto& [key, value] : given) {
    const std::string clean_key = redactor.text(key);
    clean[clean_key] = names_a_secret(key) && !value.is_null() ? json::value(redaction_mark)
                                                               : redact(redactor, value, depth + 1);
  }
  return clean;
}

json::value redact(const Redactor& redactor, const json::value& given, int depth) {
  if (given.is_object()) return redact(redactor, given.get_object(), depth);
  if (given.is_string()) return json::string(redactor.text(given.get_string()));
  if (!given.is_array()) return given;
  require_depth(depth);
  json::array clean;
  for (const json::value& element : given.get_array()) {
    clean.push_back(redact(redactor, element, depth + 1));
  }
  return clean;
}

}  // namespace

json::value Redactor::json(const json::value& given) const { return redact(*this, given, 1); }
json::object Redactor::json(const json::object& given) const { return redact(*this, given, 1); }

}  // namespace dbcache::input
