#include "workspace/oauth.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include <boost/algorithm/string/trim.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <openssl/evp.h>

#include "input/input.hpp"
#include "input/redact.hpp"
#include "workspace/api.hpp"
#include "workspace/clusters_api.hpp"
#include "workspace/refusal.hpp"

namespace json = boost::json;

namespace dbcache::workspace {

using databricks::NotAuthenticated;
using databricks::WorkspaceUnavailable;
using SteadyClock = std::chrono::steady_clock;

namespace {

/// Azure refuses tokens with half a minute left.
constexpr std::chrono::seconds least_rest{40};
/// The official SDKs renew at half the life of a token, and at most so long before its end.
constexpr std::chrono::minutes most_rest{20};

std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string form(const std::map<std::string, std::string>& fields) {
  std::string text;
  for (const auto& [key, value] : fields) {
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", key, percent_encoded(value));
  }
  return text;
}

/// Sends a request until it is answered, or the patience ends. `who`: of whom an error tells.
HttpResponse answered(Http& http, const HttpRequest& request, const Bounds& bounds,
                      const std::string& who) {
  const Pace pace;
  const auto give_up = SteadyClock::now() + bounds.patience.value_or(pace.patience);
  Pauses pauses(pace);
  for (;;) {
    std::string failure;
    bool may_help = true;
    std::optional<std::chrono::seconds> retry_after;
    try {
      HttpResponse response = http.send(request, bounds);
      const databricks::Refusal refusal = read_refusal(response);
      if (!is_transient(refusal)) return response;
      failure = fmt::format("{} (HTTP {})", refusal.message, response.status);
      retry_after = response.retry_after;
    } catch (const NoAnswer& error) {
      failure = error.what();
      may_help = error.may_help();
    }
    const auto next = pauses.next(retry_after);
    if (!may_help || SteadyClock::now() + next >= give_up) {
      throw WorkspaceUnavailable(fmt::format("{} cannot be asked for a token: {}", who, failure),
                                 {}, may_help);
    }
    pause(next, bounds, "the wait for a token");
  }
}

json::object object_of(const HttpResponse& response, const std::string& who) {
  constexpr int ok = 200;
  boost::system::error_code failed;
  json::value body = json::parse(response.body, failed);
  if (response.status == ok && !failed && body.is_object()) return std::move(body.get_object());
  const databricks::Refusal refusal = read_refusal(response);
  throw NotAuthenticated(
      fmt::format("{} gives no token: {}{} (HTTP {}); check the client id, its secret or its "
                  "federation policy",
                  who, refusal.error_code.empty() ? "" : refusal.error_code + ": ", refusal.message,
                  response.status),
      refusal);
}

std::string text_in(const json::object& body, const char* key) {
  const json::value* const value = body.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

}  // namespace

std::string OAuthCredentials::endpoint(Http& http, const Bounds& bounds) const {
  HttpRequest request;
  request.url = host() + "/oidc/.well-known/oauth-authorization-server";
  const HttpResponse response = answered(http, request, bounds, host());
  boost::system::error_code failed;
  const json::value body = json::parse(response.body, failed);
  const std::string found =
      !failed && body.is_object() ? text_in(body.get_object(), "token_endpoint") : "";
  // The secret goes to its own host only, whatever the answer says.
  return input::normalised_host(found) == host() ? found : host() + "/oidc/v1/token";
}

std::string OAuthCredentials::subject_token(Http& http, const std::string& endpoint,
                                            const Bounds& bounds) const {
  if (kind() == "env-oidc") return values_.oidc_token;
  if (kind() == "file-oidc") {
    std::ifstream file(values_.oidc_token_file);
    std::stringstream text;
    text << file.rdbuf();
    std::string token = text.str();
    boost::algorithm::trim(token);
    if (token.empty()) {
      throw NotAuthenticated(fmt::format(
          "the file {} (DATABRICKS_OIDC_TOKEN_FILEPATH) has no token", values_.oidc_token_file));
    }
    return token;
  }
  const std::string audience = values_.audience.empty() ? endpoint : values_.audience;
  HttpRequest request;
  const char separator = values_.github_url.find('?') == std::string::npos ? '?' : '&';
  request.url =
      fmt::format("{}{}audience={}", values_.github_url, separator, percent_encoded(audience));
  request.headers = {"Authorization: Bearer " + values_.github_token};
  const std::string who = "GitHub's OIDC (ACTIONS_ID_TOKEN_REQUEST_URL)";
  return text_in(object_of(answered(http, request, bounds, who), who), "value");
}

OAuthCredentials::Token OAuthCredentials::fetch(Http& http, const Bounds& bounds) const {
  const std::string to = endpoint(http, bounds);
  HttpRequest request;
  request.method = "POST";
  request.url = to;
  request.headers = {"Content-Type: application/x-www-form-urlencoded"};
  std::map<std::string, std::string> fields{{"scope", "all-apis"}};
  if (kind() == "oauth-m2m") {
    fields["grant_type"] = "client_credentials";
    request.headers.push_back("Authorization: Basic " +
                              base64(values_.client_id + ':' + values_.client_secret));
  } else {
    const std::string subject = subject_token(http, to, bounds);
    input::keep_secret(subject);
    fields["grant_type"] = "urn:ietf:params:oauth:grant-type:token-exchange";
    fields["subject_token_type"] = "urn:ietf:params:oauth:token-type:jwt";
    fields["subject_token"] = subject;
    if (!values_.client_id.empty()) fields["client_id"] = values_.client_id;
  }
  request.body = form(fields);
  const auto asked = SteadyClock::now();
  const json::object body = object_of(answered(http, request, bounds, host()), host());
  const std::string token = text_in(body, "access_token");
  if (token.empty()) {
    throw NotAuthenticated(fmt::format("{} answered without an access token", host()));
  }
  const json::value* const life = body.if_contains("expires_in");
  std::chrono::seconds lasts = std::chrono::hours{1};
  if (life != nullptr && life->is_number()) {
    lasts = std::chrono::seconds(life->to_number<std::int64_t>());
  }
  const auto rest = std::max<std::chrono::seconds>(
      std::min<std::chrono::seconds>(lasts / 2, most_rest), least_rest);
  Token fetched;
  fetched.authorization = "Bearer " + token;
  // One that ends at once is fetched anew for each request.
  fetched.renew_at = asked + lasts - rest;
  return fetched;
}

std::string OAuthCredentials::authorization(Http& http, const Bounds& bounds) {
  std::optional<Token> token = token_.get();
  if (!token || SteadyClock::now() >= token->renew_at) {
    token = fetch(http, bounds);
    token_.put(*token);
  }
  input::keep_secret(
      std::string_view(token->authorization).substr(std::string_view("Bearer ").size()));
  return token->authorization;
}

bool OAuthCredentials::renew(const std::string& refused) {
  token_.update([&](const Token& token) {
    return token.authorization == refused ? std::optional(Token{}) : std::nullopt;
  });
  return true;
}

}  // namespace dbcache::workspace
