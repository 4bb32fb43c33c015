#include "input/redact.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstdint>
#include <memory>
#include <vector>

#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/trim.hpp>

#include <dbcache/errors.hpp>

#include "system/environment.hpp"
#include "system/published.hpp"
#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache::input {
namespace {

constexpr std::size_t least_secret_size = 16;

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

namespace {

/// What `keep_secret` was given.
class KnownSecrets {
 public:
  void add(std::string_view secret) {
    if (holds(secret)) return;
    places_[taken_.fetch_add(1) % places_.size()].put(std::string(secret));
  }

  /// Adds to `found` those that stand in the text.
  void find_in(std::string_view text, std::vector<std::string>& found) const {
    each([&](const std::string& secret) {
      if (text.find(secret) != std::string_view::npos) found.push_back(secret);
    });
  }

 private:
  [[nodiscard]] bool holds(std::string_view secret) const {
    bool held = false;
    each([&](const std::string& known) { held = held || known == secret; });
    return held;
  }

  template <class Look>
  void each(Look look) const {
    const std::size_t count = std::min<std::size_t>(taken_, places_.size());
    for (std::size_t at = 0; at < count; ++at) places_[at].with(look);
  }

  static constexpr std::size_t most = 256;
  std::array<system::Published<std::string>, most> places_;
  std::atomic<std::uint32_t> taken_ = 0;
};

/// Never destroyed: what runs at the end of the process may still write to the log. Made without
/// the lock of a local static, which a fork could find held.
KnownSecrets& known_secrets() {
  static std::atomic<KnownSecrets*> known = nullptr;
  if (KnownSecrets* const there = known) return *there;
  auto made = std::make_unique<KnownSecrets>();
  KnownSecrets* there = nullptr;
  return known.compare_exchange_strong(there, made.get()) ? *made.release() : *there;
}

/// A secret without the line break that `$(cat FILE)`'s kin leave; empty if it is too short.
std::string worth_removing(std::string secret) {
  boost::algorithm::trim(secret);
  if (secret.size() < least_secret_size) secret.clear();
  return secret;
}

}  // namespace

void keep_secret(std::string_view secret) {
  if (secret.size() >= least_secret_size) known_secrets().add(secret);
}

Redactor::Redactor(std::string databricks_token) {
  secrets_.push_back(worth_removing(std::move(databricks_token)));
  for (const char* const name :
       {"DATABRICKS_CLIENT_SECRET", "DATABRICKS_OIDC_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}) {
    secrets_.push_back(worth_removing(system::environment_variable(name)));
  }
  std::erase(secrets_, "");
}

std::string Redactor::text(std::string_view given) const {
  std::vector<std::string> found;
  for (const std::string& secret : secrets_) {
    if (given.find(secret) != std::string_view::npos) found.push_back(secret);
  }
  known_secrets().find_in(given, found);
  // One may be a part of another, which then must not be torn.
  std::sort(found.begin(), found.end(),
            [](const auto& one, const auto& other) { return one.size() > other.size(); });
  std::string text(given);
  for (const std::string& secret : found) {
    boost::algorithm::replace_all(text, secret, redaction_mark);
  }
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
