#include "workspace/api.hpp"

#include <algorithm>
#include <random>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace json = boost::json;

namespace dbcache::workspace {

using databricks::WorkspaceUnavailable;
using SteadyClock = std::chrono::steady_clock;

std::chrono::milliseconds Pauses::next(std::optional<std::chrono::seconds> retry_after) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const auto jitter = std::uniform_int_distribution<std::int64_t>(0, pace_.jitter.count())(random);
  const std::chrono::milliseconds pause = next_ + std::chrono::milliseconds(jitter);
  next_ = std::min(next_ * 2, pace_.longest);
  return retry_after ? std::max<std::chrono::milliseconds>(pause, *retry_after) : pause;
}

Api::Api(std::shared_ptr<Credentials> credentials, Pace pace)
    : credentials_(std::move(credentials)), pace_(pace) {}

HttpRequest Api::request(std::string_view method, std::string_view path, const json::object* body,
                         const std::string& authorization) const {
  HttpRequest request;
  request.method = method;
  request.url = fmt::format("{}{}", host(), path);
  request.headers = {"Accept: application/json", "Authorization: " + authorization};
  if (!credentials_->workspace_id().empty()) {
    request.headers.push_back("X-Databricks-Workspace-Id: " + credentials_->workspace_id());
  }
  if (body != nullptr) {
    request.headers.emplace_back("Content-Type: application/json");
    request.body = json::serialize(*body);
  }
  return request;
}

namespace {

Attempt attempt_of(std::string_view method, const HttpResponse& response) {
  constexpr int ok = 200;
  constexpr int redirection = 300;
  constexpr int client_error = 400;
  Attempt attempt;
  if (response.status >= ok && response.status < redirection) {
    boost::system::error_code failed;
    // What was asked for is never nothing: a list without clusters is {}.
    const bool is_nothing = response.body.empty() && method != "GET";
    json::value body = json::parse(is_nothing ? "{}" : response.body, failed);
    if (!failed && body.is_object()) {
      attempt.body = std::move(body.get_object());
      return attempt;
    }
    // Of a proxy, or a page to log in: nothing says whether the workspace has seen the request.
    attempt.outcome = Attempt::Outcome::failed;
    attempt.failure = fmt::format("its answer is not JSON (HTTP {})", response.status);
    attempt.may_be_done = true;
    return attempt;
  }
  attempt.refusal = read_refusal(response);
  attempt.retry_after = response.retry_after;
  if (response.status >= redirection && response.status < client_error) {
    attempt.refusal.message =
        fmt::format("it redirects to {}, which is not followed", response.redirect);
  }
  if (!is_transient(attempt.refusal)) {
    attempt.outcome = Attempt::Outcome::refused;
    return attempt;
  }
  constexpr int too_many_requests = 429;
  attempt.outcome = Attempt::Outcome::failed;
  attempt.failure = fmt::format(
      "{} (HTTP {})",
      attempt.refusal.message.empty() ? attempt.refusal.error_code : attempt.refusal.message,
      response.status);
  attempt.may_be_done = response.status != too_many_requests;
  return attempt;
}

}  // namespace

Attempt Api::try_once(std::string_view method, std::string_view path, const json::object* body,
                      const Bounds& bounds) const {
  constexpr int unauthenticated = 401;
  for (bool renewed = false;;) {
    const std::string authorization = credentials_->authorization(*http_, bounds);
    try {
      Attempt attempt =
          attempt_of(method, http_->send(request(method, path, body, authorization), bounds));
      if (attempt.outcome == Attempt::Outcome::refused &&
          attempt.refusal.http_status == unauthenticated) {
        // A token may have ended on its way.
        if (!renewed && credentials_->renew(authorization)) {
          renewed = true;
          continue;
        }
        throw_refusal(
            fmt::format("{} does not accept the credentials ({})", host(), credentials_->source()),
            attempt.refusal, Purpose::other);
      }
      return attempt;
    } catch (const NoAnswer& error) {
      Attempt attempt;
      attempt.outcome = Attempt::Outcome::failed;
      attempt.failure = error.what();
      attempt.may_be_done = error.may_have_arrived();
      attempt.may_help = error.may_help();
      return attempt;
    }
  }
}

void throw_failed(const Api& api, const Attempt& attempt) {
  throw WorkspaceUnavailable(
      fmt::format("the workspace {} cannot be asked: {}", api.host(), attempt.failure),
      attempt.refusal, attempt.may_help);
}

Attempt Api::call(std::string_view method, std::string_view path, const json::object* body,
                  const Bounds& bounds) const {
  const auto give_up = SteadyClock::now() + bounds.patience.value_or(pace_.patience);
  Pauses pauses(pace_);
  for (;;) {
    Attempt attempt = try_once(method, path, body, bounds);
    if (attempt.outcome != Attempt::Outcome::failed) return attempt;
    const auto next = pauses.next(attempt.retry_after);
    if (!attempt.may_help || SteadyClock::now() + next >= give_up) throw_failed(*this, attempt);
    pause(next, bounds, "the wait for the workspace");
  }
}

json::object Api::get(std::string_view path, const Bounds& bounds, const char* what) const {
  Attempt attempt = call("GET", path, nullptr, bounds);
  if (attempt.outcome == Attempt::Outcome::refused) {
    throw_refusal(fmt::format("{}: {}", what, host()), attempt.refusal, Purpose::other);
  }
  return std::move(attempt.body);
}

json::object Api::post(std::string_view path, const json::object& body, const Bounds& bounds,
                       const char* what) const {
  Attempt attempt = call("POST", path, &body, bounds);
  if (attempt.outcome == Attempt::Outcome::refused) {
    throw_refusal(fmt::format("{}: {}", what, host()), attempt.refusal, Purpose::other);
  }
  return std::move(attempt.body);
}

}  // namespace dbcache::workspace
