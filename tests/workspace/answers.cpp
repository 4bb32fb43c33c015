#include "answers.hpp"

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace dbcache::test {
namespace {

using boost::json::object;

object body(const char* code, const char* message) {
  return {{"error_code", code}, {"message", message}};
}

object status(int number, const boost::json::value& said = nullptr) {
  object fault{{"status", number}};
  if (!said.is_null()) fault["body"] = said;
  return fault;
}

object kind(const char* name, bool after = false) {
  object fault{{"kind", name}, {"when", after ? "after" : "before"}, {"seconds", 0.1}};
  if (std::string_view(name) == "status") fault["status"] = 503;
  return fault;
}

object with(object fault, const char* key, const boost::json::value& value) {
  fault[key] = value;
  return fault;
}

}  // namespace

std::vector<Answer> states() {
  std::vector<Answer> rows;
  for (const char* const state : {"PENDING", "RUNNING", "RESTARTING", "RESIZING", "TERMINATING",
                                  "TERMINATED", "ERROR", "UNKNOWN", "SNOOZING"}) {
    Answer row{.name = state, .state = state};
    row.goes_on = row.name == "PENDING" || row.name == "RESTARTING";
    row.says_nothing = row.name == "UNKNOWN" || row.name == "SNOOZING";
    if (row.name == "SNOOZING") row.name = "a state that is not known";
    rows.push_back(row);
  }
  const std::vector<std::pair<const char*, const char*>> forms{
      {"gone: 400 INVALID_PARAMETER_VALUE, \"does not exist\"", "does_not_exist"},
      {"gone: 404 RESOURCE_DOES_NOT_EXIST", "404"},
      {"gone: 400 INVALID_STATE, \"more than 30 days ago\"", "more_than_30_days"},
      {"gone: 404 without a body", "bare_not_found"}};
  for (const auto& [name, form] : forms) rows.push_back({.name = name, .gone_form = form});
  return rows;
}

namespace {

std::vector<Answer> refusals() {
  const object later = body("TEMPORARILY_UNAVAILABLE", "later");
  return {
      {.name = "400 INVALID_PARAMETER_VALUE",
       .fault = status(400, body("INVALID_PARAMETER_VALUE", "bad"))},
      {.name = "400 INVALID_STATE",
       .fault = status(400, body("INVALID_STATE", "Cannot access it"))},
      {.name = "400 QUOTA_EXCEEDED", .fault = status(400, body("QUOTA_EXCEEDED", "used up"))},
      {.name = "400 as `CODE: text`", .fault = status(400, "BAD_REQUEST: bad")},
      {.name = "400 \"Unknown worker environment\"",
       .fault = status(400, object{{"message", "Unknown worker environment 7"}})},
      {.name = "401", .fault = status(401, body("UNAUTHENTICATED", "no"))},
      {.name = "403 PERMISSION_DENIED", .fault = status(403, body("PERMISSION_DENIED", "no"))},
      {.name = "403 \"Invalid access token\"",
       .fault = status(403, body("403", "Invalid access token."))},
      {.name = "404 ENDPOINT_NOT_FOUND",
       .fault = status(404, body("ENDPOINT_NOT_FOUND", "no API"))},
      {.name = "404 of a gateway, as JSON",
       .fault = status(404, object{{"error", "Not Found"}, {"message", "no route"}})},
      {.name = "404 FEATURE_DISABLED", .fault = status(404, body("FEATURE_DISABLED", "off"))},
      {.name = "409 RESOURCE_CONFLICT",
       .fault = status(409, body("RESOURCE_CONFLICT", "conflict"))},
      {.name = "429", .fault = status(429, body("REQUEST_LIMIT_EXCEEDED", "slower"))},
      {.name = "429 with Retry-After",
       .fault = with(status(429), "headers", object{{"Retry-After", "1"}})},
      {.name = "500 INTERNAL_ERROR", .fault = status(500, body("INTERNAL_ERROR", "oops"))},
      {.name = "501 NOT_IMPLEMENTED", .fault = status(501, body("NOT_IMPLEMENTED", "no"))},
      {.name = "502 with a page", .fault = kind("html")},
      {.name = "503", .fault = status(503, later)},
      {.name = "504 without a body", .fault = status(504)},
      {.name = "a redirect to a page to log in", .fault = kind("redirect")},
  };
}

std::vector<Answer> spoilt() {
  std::vector<Answer> rows;
  const std::vector<std::pair<const char*, const char*>> kinds{
      {"status", "503"},
      {"garbage", "half of a JSON"},
      {"empty", "nothing, as 200"},
      {"cut", "the connection is cut amid the answer"},
      {"close", "the connection ends without an answer"},
      {"reset", "the connection is reset"},
      {"hang", "no answer for long"}};
  for (const auto& [name, words] : kinds) {
    rows.push_back({.name = fmt::format("{}, before the work", words), .fault = kind(name)});
    rows.push_back({.name = fmt::format("{}, after the work", words), .fault = kind(name, true)});
  }
  rows.push_back({.name = "a late answer", .fault = kind("delay")});
  rows.push_back({.name = "a byte a second, until the connection ends", .fault = kind("slow")});
  rows.push_back({.name = "no connection at all, for long",
                  .fault = with(kind("close"), "times", -1),
                  .is_for_all = true});
  rows.push_back({.name = "403 to everything",
                  .fault = with(status(403, body("PERMISSION_DENIED", "no")), "times", -1),
                  .is_for_all = true});
  return rows;
}

}  // namespace

std::vector<Answer> answers() {
  std::vector<Answer> rows = refusals();
  for (Answer& row : spoilt()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace dbcache::test
