#include "workspace/refusal.hpp"

#include <algorithm>
#include <array>

#include <boost/algorithm/string/predicate.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include "input/redact.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::workspace {

using databricks::Refusal;

namespace {

constexpr std::size_t most_message_bytes = std::size_t{1} << 10;

constexpr int bad_request = 400;
constexpr int unauthenticated = 401;
constexpr int forbidden = 403;
constexpr int not_found = 404;
constexpr int request_timeout = 408;
constexpr int conflict = 409;
constexpr int too_many_requests = 429;
constexpr int server_error = 500;
constexpr int not_implemented = 501;

/// On one line, so that it reads well in a message; and without secrets, since a careless server
/// repeats what it was sent.
std::string one_line(std::string_view given) {
  const std::string text = input::Redactor("").text(given);
  std::string line = text::to_valid_utf8(std::string_view(text).substr(0, 4 * most_message_bytes));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  line = text::cut_utf8(line, most_message_bytes);
  boost::algorithm::trim(line);
  return line;
}

std::string text_of(const json::object& body, const char* key) {
  const json::value* const value = body.if_contains(key);
  if (value == nullptr || value->is_null()) return "";
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

bool contains_any(std::string_view text, const auto& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](std::string_view pattern) {
    return boost::algorithm::icontains(text, pattern);
  });
}

/// `CODE: text`, as older services answer.
bool read_code_and_text(std::string_view body, Refusal& refusal) {
  const std::size_t colon = body.find(": ");
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view code = body.substr(0, colon);
  if (code.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != std::string_view::npos) {
    return false;
  }
  refusal.error_code = code;
  refusal.message = one_line(body.substr(colon + 2));
  return true;
}

/// The text in `<pre>`, where Jetty and its like put it, or else without its tags.
std::string text_of_html(std::string_view body) {
  const auto begin = body.find("<pre>");
  if (begin != std::string_view::npos) {
    const std::string_view rest = body.substr(begin + std::string_view("<pre>").size());
    return one_line(rest.substr(0, rest.find("</pre>")));
  }
  std::string text;
  bool in_tag = false;
  for (const char c : body) {
    if (c == '<') in_tag = true;
    if (!in_tag) text += c;
    if (c == '>') in_tag = false;
  }
  return one_line(text);
}

/// Texts of answers that are worth another try (the Go SDK's apierr/errors.go and httpclient, the
/// Python SDK's retryable texts).
constexpr std::array<std::string_view, 10> transient_texts{
    "UnknownWorkerEnvironmentException",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "Unknown worker environment",
    "ClusterNotReadyException",
    "Timed out after ",
    "deadline exceeded",
    "RPC token bucket limit has been exceeded",
    "Please try again later or try a faster operation.",
    "TEMPORARILY_UNAVAILABLE"};

constexpr std::array<std::string_view, 3> quota_texts{"QUOTA_EXCEEDED", "QuotaExceeded",
                                                      "quota exceeded"};

constexpr std::array<std::string_view, 6> capacity_texts{
    "STOCKOUT",         "INSUFFICIENT_INSTANCE_CAPACITY", "INSUFFICIENT_CAPACITY",
    "ALLOCATIONFAILED", "INSTANCE_POOL_MAX_CAPACITY",     "CAPACITY_FAILURE"};

}  // namespace

Refusal read_refusal(const HttpResponse& response) {
  Refusal refusal;
  refusal.http_status = response.status;
  const std::string body = boost::algorithm::trim_copy(response.body);
  boost::system::error_code failed;
  const json::value value = json::parse(body, failed);
  if (!failed && value.is_object()) {
    const json::object& object = value.get_object();
    refusal.error_code = text_of(object, "error_code");
    refusal.message = text_of(object, "message");
    if (refusal.message.empty()) refusal.message = text_of(object, "error_description");
    const std::string error = text_of(object, "error");
    if (refusal.message.empty()) {
      refusal.message = error;
    } else if (refusal.error_code.empty()) {
      refusal.error_code = error;
    }
    refusal.error_code = one_line(refusal.error_code);
    refusal.message = one_line(refusal.message);
    return refusal;
  }
  if (body.starts_with('<')) {
    refusal.message = text_of_html(body);
  } else if (!read_code_and_text(body, refusal)) {
    refusal.message = one_line(body);
  }
  return refusal;
}

bool is_transient(const Refusal& refusal) {
  const int status = refusal.http_status;
  return status == too_many_requests || status == request_timeout ||
         (status >= server_error && status != not_implemented) ||
         contains_any(refusal.message, transient_texts) ||
         contains_any(refusal.error_code, transient_texts);
}

bool is_bare_not_found(const Refusal& refusal) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return refusal.http_status == not_found &&
         (refusal.error_code.empty() || refusal.error_code == "ENDPOINT_NOT_FOUND" ||
          refusal.error_code == "FEATURE_DISABLED" ||
          refusal.error_code.find_first_not_of(letters) != std::string::npos);
}

bool is_gone(const Refusal& refusal) {
  if (refusal.http_status == not_found) return refusal.error_code == "RESOURCE_DOES_NOT_EXIST";
  if (refusal.http_status != bad_request) return false;
  // The words of Databricks, since neither code means this alone.
  return (refusal.error_code == "INVALID_PARAMETER_VALUE" &&
          refusal.message.find("does not exist") != std::string::npos) ||
         (refusal.error_code == "INVALID_STATE" &&
          refusal.message.find("Cannot access cluster") != std::string::npos &&
          refusal.message.find("more than 30 days ago") != std::string::npos);
}

void throw_refusal(const std::string& what, const Refusal& refusal, Purpose purpose) {
  using namespace databricks;
  std::string said = refusal.message.empty() ? "no reason given" : refusal.message;
  if (!refusal.error_code.empty()) said = fmt::format("{}: {}", refusal.error_code, said);
  const std::string text = fmt::format("{}: {} (HTTP {})", what, said, refusal.http_status);
  const int status = refusal.http_status;
  if (status == unauthenticated ||
      (status == forbidden && refusal.message.find("nvalid access token") != std::string::npos)) {
    throw NotAuthenticated(
        text + "; they must be of this workspace, and not have ended (docs/workspace.md)", refusal);
  }
  if (contains_any(refusal.error_code, quota_texts) || contains_any(refusal.message, quota_texts)) {
    throw QuotaExceeded(text, refusal);
  }
  if (status == forbidden) {
    throw PermissionDenied(
        text + "; ask an administrator of the workspace for this right (docs/workspace.md)",
        refusal);
  }
  if (purpose == Purpose::creation && status >= bad_request && status < server_error &&
      status != conflict && !is_bare_not_found(refusal)) {
    throw InvalidClusterConfig(text, refusal);
  }
  const bool redirected = status >= 300 && status < bad_request;
  throw WorkspaceUnavailable(redirected || is_bare_not_found(refusal)
                                 ? text + "; is this the address of a workspace?"
                                 : text,
                             refusal, !redirected);
}

std::string describe(const databricks::TerminationReason& reason) {
  std::string text = reason.code.empty() ? "no reason given" : reason.code;
  if (!reason.type.empty()) text += fmt::format(" ({})", reason.type);
  const char* separator = ": ";
  for (const auto& [name, value] : reason.parameters) {
    text += fmt::format("{}{}: {}", separator, name, one_line(value));
    separator = ", ";
  }
  return std::string(text::cut_utf8(text, most_message_bytes));
}

void throw_failed_start(const databricks::Cluster& cluster) {
  using namespace databricks;
  const TerminationReason reason = cluster.termination_reason.value_or(TerminationReason{});
  std::string text = fmt::format("the cluster {} did not start: it is {}: {}", cluster.cluster_id,
                                 to_string(cluster.state), describe(reason));
  if (reason.code.empty() && !cluster.state_message.empty()) {
    text += fmt::format(": {}", one_line(cluster.state_message));
  }
  if (contains_any(reason.code, quota_texts)) throw QuotaExceeded(text);
  if (contains_any(reason.code, capacity_texts)) throw CapacityUnavailable(text);
  throw ClusterFailed(text);
}

}  // namespace dbcache::workspace
