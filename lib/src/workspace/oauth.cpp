#include "workspace/oauth.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>

#include <boost/algorithm/string/trim.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <openssl/evp.h>

#include "input/input.hpp"
#include "input/redact.hpp"
#include "text/utf8.hpp"
#include "workspace/api.hpp"
#include "workspace/clusters_api.hpp"
#include "workspace/refusal.hpp"

namespace json = boost::json;

namespace dbcache::workspace {

using databricks::NotAuthenticated;
using databricks::WorkspaceUnavailable;
using SteadyClock = std::chrono::steady_clock;

namespace {

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

constexpr std::size_t most_reason_bytes = 500;
constexpr std::size_t most_token_bytes = std::size_t{64} << 10;

/// What a server says, as an error may repeat it: a careless one repeats the secret.
std::string unsecret(std::string_view said) {
  const std::string text = input::Redactor("").text(said);
  return std::string(text::cut_utf8(text, most_reason_bytes));
}

bool is_success(const HttpResponse& response) {
  constexpr int ok = 200;
  constexpr int redirection = 300;
  return response.status >= ok && response.status < redirection;
}

/// A redirect to a page to log in, say, is an answer that nobody follows.
void require_no_redirect(const HttpResponse& response, const std::string& who) {
  constexpr int redirection = 300;
  constexpr int client_error = 400;
  if (response.status < redirection || response.status >= client_error) return;
  databricks::Refusal refusal;
  refusal.http_status = response.status;
  throw WorkspaceUnavailable(
      fmt::format("{} redirects to {} (HTTP {}), which is not followed; is this the address of a "
                  "workspace?",
                  who, unsecret(response.redirect), response.status),
      refusal, false);
}

/// Sends a request until it is answered, or the patience ends. `who`: of whom an error tells.
HttpResponse answered(Http& http, const HttpRequest& request, const Bounds& bounds,
                      const std::string& who) {
  const Pace pace;
  const auto give_up = SteadyClock::now() + bounds.patience.value_or(pace.patience);
  Pauses pauses(pace);
  for (;;) {
    std::string failure;
    databricks::Refusal last;
    bool may_help = true;
    std::optional<std::chrono::seconds> retry_after;
    try {
      HttpResponse response = http.send(request, bounds);
      require_no_redirect(response, who);
      if (is_success(response)) return response;
      last = read_refusal(response);
      last.message = unsecret(last.message);
      if (!is_transient(last)) return response;
      failure = fmt::format("{} (HTTP {})", last.message, response.status);
      retry_after = response.retry_after;
    } catch (const NoAnswer& error) {
      failure = error.what();
      may_help = error.may_help();
    }
    const auto next = pauses.next(retry_after);
    if (!may_help || SteadyClock::now() + next >= give_up) {
      throw WorkspaceUnavailable(fmt::format("{} cannot be asked for a token: {}", who, failure),
                                 last, may_help);
    }
    pause(next, bounds, "the wait for a token");
  }
}

/// `check`: the remedy where the answer is a refusal.
json::object object_of(const HttpResponse& response, const std::string& who, const char* check) {
  boost::system::error_code failed;
  json::value body = json::parse(response.body, failed);
  if (is_success(response)) {
    if (!failed && body.is_object()) return std::move(body.get_object());
    // A page to log in, or a proxy's: what it says is of no use, and may be anything.
    throw WorkspaceUnavailable(
        fmt::format("{} answers with something else than JSON where a token is asked for", who),
        databricks::Refusal{response.status}, true);
  }
  databricks::Refusal refusal = read_refusal(response);
  refusal.message = unsecret(refusal.message);
  refusal.error_code = unsecret(refusal.error_code);
  throw NotAuthenticated(fmt::format("{} gives no token: {}{} (HTTP {}); {}", who,
                                     refusal.error_code.empty() ? "" : refusal.error_code + ": ",
                                     refusal.message.empty() ? "no reason given" : refusal.message,
                                     response.status, check),
                         refusal);
}

std::string text_in(const json::object& body, const char* key) {
  const json::value* const value = body.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

/// A token of a JSON answer. Throws NotAuthenticated for one that no header can have.
std::string token_in(const json::object& body, const char* key, const std::string& who) {
  std::string token = text_in(body, key);
  if (token.empty() || token.size() > most_token_bytes ||
      std::any_of(token.begin(), token.end(),
                  [](unsigned char c) { return c <= ' ' || c >= 0x7f; })) {
    throw NotAuthenticated(fmt::format("{} answers without a token that can be used", who));
  }
  input::keep_secret(token);
  return token;
}

/// How long a token lasts, by its answer. A server that does not say so means the usual hour.
std::chrono::seconds life_in(const json::object& body) {
  constexpr double longest = 24.0 * 60 * 60;
  constexpr std::chrono::hours usual{1};
  const json::value* const life = body.if_contains("expires_in");
  if (life == nullptr) return usual;
  double seconds = 0;
  if (life->is_number()) {
    seconds = life->to_number<double>();
  } else if (life->is_string()) {
    const std::string text(life->get_string());
    seconds = std::strtod(text.c_str(), nullptr);
  } else {
    return usual;
  }
  // Such that what is no number is 0.
  return std::chrono::seconds(seconds > 0 ? static_cast<std::int64_t>(std::min(seconds, longest))
                                          : 0);
}

/// The path of an address at this host; empty if it is of another. Only the path is used, since an
/// address can be written such that two programs see different hosts in it.
std::string path_at(const std::string& host, const std::string& address) {
  if (input::normalised_host(address) != host) return "";
  const std::size_t scheme = address.find("://");
  const std::size_t slash =
      address.find('/', scheme == std::string::npos ? 0 : scheme + std::string("://").size());
  if (slash == std::string::npos) return "";
  std::string path = address.substr(slash, address.find('#') - slash);
  const bool plain = std::all_of(path.begin(), path.end(),
                                 [](unsigned char c) { return c > ' ' && c < 0x7f && c != '\\'; });
  return plain && !path.starts_with("//") ? path : "";
}

std::string read_token_file(const std::string& path) {
  std::string token;
  std::error_code failed;
  if (std::filesystem::is_regular_file(path, failed)) {
    token.resize(most_token_bytes);
    std::ifstream file(path, std::ios::binary);
    file.read(token.data(), static_cast<std::streamsize>(token.size()));
    token.resize(static_cast<std::size_t>(file.gcount()));
    boost::algorithm::trim(token);
  }
  if (token.empty()) {
    throw NotAuthenticated(
        fmt::format("the file {} (DATABRICKS_OIDC_TOKEN_FILEPATH) has no token, is not there or "
                    "may not be read",
                    path));
  }
  return token;
}

constexpr const char* check_principal =
    "check the client id and its secret (DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET, or those "
    "of the profile), and that the service principal is in this workspace";
constexpr const char* check_policy =
    "check DATABRICKS_CLIENT_ID and the federation policy of the service principal: its issuer, "
    "subject and audience must be those of the OIDC token (DATABRICKS_TOKEN_AUDIENCE)";
constexpr const char* check_github =
    "check that the job has `permissions: id-token: write`, and that it still runs";

}  // namespace

std::string OAuthCredentials::endpoint(Http& http, const Bounds& bounds) const {
  HttpRequest request;
  request.url = host() + "/oidc/.well-known/oauth-authorization-server";
  const HttpResponse response = answered(http, request, bounds, host());
  boost::system::error_code failed;
  const json::value body = json::parse(response.body, failed);
  const std::string path = is_success(response) && !failed && body.is_object()
                               ? path_at(host(), text_in(body.get_object(), "token_endpoint"))
                               : "";
  // The secret goes to its own host only, whatever the answer says.
  return host() + (path.empty() ? "/oidc/v1/token" : path);
}

std::string OAuthCredentials::subject_token(Http& http, const std::string& endpoint,
                                            const Bounds& bounds) const {
  if (kind() == "env-oidc") return values_.oidc_token;
  if (kind() == "file-oidc") return read_token_file(values_.oidc_token_file);
  const std::string audience = values_.audience.empty() ? endpoint : values_.audience;
  HttpRequest request;
  const char separator = values_.github_url.find('?') == std::string::npos ? '?' : '&';
  request.url =
      fmt::format("{}{}audience={}", values_.github_url, separator, percent_encoded(audience));
  request.headers = {"Authorization: Bearer " + values_.github_token};
  const std::string who = "GitHub's OIDC (ACTIONS_ID_TOKEN_REQUEST_URL)";
  return token_in(object_of(answered(http, request, bounds, who), who, check_github), "value", who);
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
    const std::string basic = base64(values_.client_id + ':' + values_.client_secret);
    input::keep_secret(values_.client_secret);
    input::keep_secret(basic);
    request.headers.push_back("Authorization: Basic " + basic);
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
  const json::object body = object_of(answered(http, request, bounds, host()), host(),
                                      kind() == "oauth-m2m" ? check_principal : check_policy);
  Token fetched;
  fetched.authorization = "Bearer " + token_in(body, "access_token", host());
  const std::chrono::seconds life = life_in(body);
  // One that ends at once is fetched anew for each request.
  fetched.ends_at = asked + life - rests_.least;
  fetched.renew_at =
      std::min(fetched.ends_at,
               asked + life - std::min<std::chrono::seconds>(life / rests_.share, rests_.most));
  return fetched;
}

std::optional<OAuthCredentials::Token> OAuthCredentials::try_fetch(Http& http,
                                                                   const Bounds& bounds) const {
  constexpr std::chrono::seconds patience{10};
  Bounds brief = bounds.at_most(patience);
  brief.patience = std::chrono::milliseconds{0};
  try {
    return fetch(http, brief);
  } catch (const databricks::WorkspaceError&) {
  } catch (const Timeout&) {
    bounds.require("the wait for a token");
  }
  return std::nullopt;
}

std::string OAuthCredentials::authorization(Http& http, const Bounds& bounds) {
  constexpr std::chrono::seconds until_next_try{30};
  std::optional<Token> token = token_.get();
  const auto now = SteadyClock::now();
  if (!token || now >= token->ends_at) {
    token = fetch(http, bounds);
    token_.put(*token);
  } else if (now >= token->renew_at) {
    // The old one is good for a while, should the endpoint be down.
    if (std::optional<Token> next = try_fetch(http, bounds)) {
      token = std::move(next);
      token_.put(*token);
    } else {
      const std::string old = token->authorization;
      token_.update([&](const Token& current) {
        if (current.authorization != old) return std::optional<Token>();
        Token later = current;
        later.renew_at = SteadyClock::now() + until_next_try;
        return std::optional(later);
      });
    }
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
