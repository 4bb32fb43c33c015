#include "chaos/workspace_upheavals.hpp"

#include <array>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

namespace dbcache::chaos {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

/// One of several.
template <class Options>
const auto& one_of(Crowd& crowd, const Options& options) {
  return *(std::begin(options) + crowd.pause(0, std::ssize(options) - 1).count());
}

double seconds(milliseconds duration) { return static_cast<double>(duration.count()) / 1000; }

// A workspace that says that it did nothing has done nothing. What was done in the end, and what
// nobody knows, it tells by these.
const std::array unclear_answers{
    json::object{{"kind", "status"}, {"status", 503}},
    json::object{{"kind", "status"}, {"status", 500}, {"error_code", "INTERNAL_ERROR"}},
    json::object{{"kind", "html"}},
    json::object{{"kind", "garbage"}},
    json::object{{"kind", "empty"}},
    json::object{{"kind", "cut"}},
    json::object{{"kind", "close"}},
    json::object{{"kind", "reset"}},
    json::object{{"kind", "hang"}, {"seconds", 1}},
    json::object{{"kind", "delay"}, {"seconds", 0.5}},
    json::object{{"kind", "slow"}, {"seconds", 1}},
};
const std::array refusals{
    json::object{{"status", 429}},
    json::object{{"status", 429}, {"headers", {{"Retry-After", "1"}}}},
    json::object{{"status", 401}, {"error_code", "UNAUTHENTICATED"}, {"message", "no"}},
    json::object{{"status", 403}, {"error_code", "PERMISSION_DENIED"}, {"message", "no"}},
    json::object{{"status", 400}, {"error_code", "REQUEST_LIMIT_EXCEEDED"}, {"message", "slow"}},
    json::object{{"kind", "redirect"}},
};

}  // namespace

void WorkspaceUpheavals::befall(Crowd& crowd, milliseconds duration) {
  const auto until = monotonic_now() + std::chrono::nanoseconds(duration).count();
  const auto left = [&] {
    return std::chrono::ceil<milliseconds>(std::chrono::nanoseconds(until - monotonic_now()));
  };
  for (;;) {
    const auto pause = crowd.pause(50, 800);
    if (left() < pause) return crowd.work_for(std::max(left(), milliseconds{0}));
    crowd.work_for(pause);
    switch (crowd.pause(1, 10).count()) {
      case 1:
        kill(crowd);
        break;
      case 2:
      case 3:
        change_settings(crowd);
        break;
      case 4:
        fail_starts(crowd);
        break;
      case 5:
        end_a_cluster(crowd);
        break;
      default:
        add_fault(crowd);
    }
  }
}

void WorkspaceUpheavals::end() {
  fake_.ask("DELETE", "/faults");
  fake_.ask("POST", "/settings",
            json::object{{"start_failure", nullptr},
                         {"start_seconds", 0.2},
                         {"list_lag_seconds", 0},
                         {"list_state_lag_seconds", 0},
                         {"get_lag_seconds", 0}});
}

void WorkspaceUpheavals::kill(Crowd& crowd) {
  crowd.journal().write({{"what", "the workspace was killed"}});
  fake_.kill();
  crowd.work_for(crowd.pause(0, 600));
  fake_.start();
}

void WorkspaceUpheavals::change_settings(Crowd& crowd) {
  constexpr std::array forms{"does_not_exist", "404", "bare_not_found", "more_than_30_days"};
  // A cluster takes longer to start than a list is late.
  const auto lag = crowd.pause(0, 400);
  fake_.ask("POST", "/settings",
            json::object{
                {"token_mode", crowd.pause(0, 2).count() == 0 ? "honoured" : "ignored"},
                {"list_lag_seconds", seconds(lag)},
                {"list_state_lag_seconds", seconds(crowd.pause(0, 300))},
                {"get_lag_seconds", seconds(crowd.pause(0, 200))},
                {"start_seconds", seconds(lag + crowd.pause(100, 400))},
                {"terminate_seconds", seconds(crowd.pause(0, 300))},
                {"empty_pages", crowd.pause(0, 1).count() == 0},
                {"page_size", crowd.pause(1, 20).count()},
                {"azure_tags", crowd.pause(0, 1).count() == 0},
                {"gone_form", one_of(crowd, forms)},
            });
}

void WorkspaceUpheavals::add_fault(Crowd& crowd) {
  constexpr std::array paths{"/create", "/create", "/create", "/get", "/list", "/delete", ""};
  const bool is_clear = crowd.pause(1, 4).count() == 1;
  json::object fault = is_clear ? one_of(crowd, refusals) : one_of(crowd, unclear_answers);
  fault["path"] = one_of(crowd, paths);
  fault["times"] = crowd.pause(1, 12).count();
  fault["probability"] = seconds(crowd.pause(200, 1000));
  if (!is_clear) fault["when"] = crowd.pause(1, 3).count() == 1 ? "before" : "after";
  fake_.ask("POST", "/faults", fault);
}

void WorkspaceUpheavals::fail_starts(Crowd& crowd) {
  constexpr std::array reasons{
      std::pair{"CLOUD_PROVIDER_LAUNCH_FAILURE", "CLOUD_FAILURE"},
      std::pair{"AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE", "CLOUD_FAILURE"},
      std::pair{"INIT_SCRIPT_FAILURE", "CLIENT_ERROR"},
      std::pair{"BOOTSTRAP_TIMEOUT", "SERVICE_FAULT"}};
  const auto& [code, type] = one_of(crowd, reasons);
  fake_.ask("POST", "/settings",
            json::object{{"start_failure",
                          {{"code", code}, {"type", type}, {"times", crowd.pause(1, 3).count()}}}});
}

void WorkspaceUpheavals::end_a_cluster(Crowd& crowd) {
  constexpr std::array ends{"TERMINATING", "TERMINATED", "ERROR"};
  std::vector<std::string> running;
  const json::value all = fake_.ask("GET", "/clusters?state=RUNNING");
  for (const json::value& cluster : all.as_array()) {
    running.emplace_back(cluster.at("cluster_id").as_string());
  }
  if (running.empty()) return;
  fake_.ask("POST", "/clusters/" + one_of(crowd, running),
            json::object{{"state", one_of(crowd, ends)}});
}

}  // namespace dbcache::chaos
