#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dbcache/cache_manager.hpp>

#include "workspace_test.hpp"

// Each state of a cluster, each form of gone, each error body and each fault, by what create,
// check, terminate and reconcile do: docs/workspace-answers.md is the table of it, and what is
// expected here. DBCACHE_UPDATE_GOLDEN=1 writes it.
namespace dbcache::databricks {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using workspace::Bounds;

/// What the workspace answers, in one row of the table.
struct Answer {
  std::string name;
  std::string state{};      ///< The cluster's, if the row is of one.
  bool goes_on = false;     ///< From that state by itself.
  std::string gone_form{};  ///< If the row is of one.
  object fault{};           ///< Else of the request that the column is of.
};

object body(const char* code, const char* message) {
  return {{"error_code", code}, {"message", message}};
}

object status(int number, const boost::json::value& said = nullptr) {
  object fault{{"status", number}};
  if (!said.is_null()) fault["body"] = said;
  return fault;
}

object kind(const char* name, bool after = false) {
  object fault{{"kind", name}, {"when", after ? "after" : "before"}, {"seconds", 0.3}};
  if (std::string_view(name) == "status") fault["status"] = 503;
  return fault;
}

object with(object fault, const char* key, const boost::json::value& value) {
  fault[key] = value;
  return fault;
}

std::vector<Answer> states() {
  std::vector<Answer> rows;
  for (const char* const state : {"PENDING", "RUNNING", "RESTARTING", "RESIZING", "TERMINATING",
                                  "TERMINATED", "ERROR", "UNKNOWN", "SNOOZING"}) {
    Answer row{.name = state, .state = state};
    row.goes_on = row.name == "PENDING" || row.name == "RESTARTING";
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
                  .fault = with(with(kind("close"), "times", -1), "path", "")});
  rows.push_back(
      {.name = "403 to everything",
       .fault = with(with(status(403, body("PERMISSION_DENIED", "no")), "times", -1), "path", "")});
  return rows;
}

std::vector<Answer> answers() {
  std::vector<Answer> rows = states();
  for (Answer& row : refusals()) rows.push_back(std::move(row));
  for (Answer& row : spoilt()) rows.push_back(std::move(row));
  return rows;
}

const std::vector<std::string> columns{"create", "check", "terminate", "reconcile"};

/// `docs/workspace-answers.md`, but for its text.
std::vector<std::vector<std::string>> table_of(std::istream& file) {
  std::vector<std::vector<std::string>> table;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| ")) continue;
    std::vector<std::string> cells;
    for (std::size_t at = 2; at < line.size();) {
      const std::size_t end = line.find(" |", at);
      cells.push_back(line.substr(at, end - at));
      at = end + 3;
    }
    table.push_back(cells);
  }
  return table;
}

std::vector<std::vector<std::string>> documented() {
  std::ifstream file(DBCACHE_ANSWERS);
  return table_of(file);
}

/// The class of an error.
std::string name_of(const WorkspaceError& error) {
  const char* name = "WorkspaceError";
  if (dynamic_cast<const NotAuthenticated*>(&error) != nullptr) name = "NotAuthenticated";
  if (dynamic_cast<const PermissionDenied*>(&error) != nullptr) name = "PermissionDenied";
  if (dynamic_cast<const InvalidClusterConfig*>(&error) != nullptr) name = "InvalidClusterConfig";
  if (dynamic_cast<const QuotaExceeded*>(&error) != nullptr) name = "QuotaExceeded";
  if (dynamic_cast<const CapacityUnavailable*>(&error) != nullptr) name = "CapacityUnavailable";
  if (dynamic_cast<const ClusterFailed*>(&error) != nullptr) name = "ClusterFailed";
  if (dynamic_cast<const WorkspaceUnavailable*>(&error) != nullptr) name = "WorkspaceUnavailable";
  return name;
}

class AnswersTest : public test::WorkspaceTest {
 protected:
  /// All that a cell before has left.
  void forget() {
    tell("/reset", object{});
    const auto directory = std::filesystem::path(database().database).parent_path();
    for (const auto& file : std::filesystem::directory_iterator(directory)) {
      std::filesystem::remove(file.path());
    }
  }

  std::string outcome(const Answer& row, const std::string& column) {
    set("token_mode", "ignored");
    set("start_seconds", 0.02);
    if (!row.gone_form.empty()) set("gone_form", boost::json::string(row.gone_form));
    if (column == "create") return of_create(row);
    if (column == "check") return of_check(row);
    return column == "terminate" ? of_terminate(row) : of_reconcile(row);
  }

 private:
  /// The cluster that a row is about.
  static std::string cluster_of(const Answer& row) {
    if (!row.gone_form.empty()) return "0101-000000-gone";
    const std::string id = made({{"state", row.state.empty() ? "RUNNING" : row.state}});
    if (row.goes_on) tell("/clusters/" + id, object{{"forced", false}});
    return id;
  }
  static void spoil(const Answer& row, const char* path) {
    if (row.fault.empty()) return;
    object given = row.fault;
    if (!given.contains("path")) given["path"] = path;
    fault(given);
  }
  static Bounds brief() {
    Bounds bounds = Bounds{}.at_most(3s);
    bounds.patience = 2s;
    return bounds;
  }
  /// How often the workspace was asked, if more than once.
  static std::string again(const char* path, int usual) {
    return requests(path) > usual ? "asks again, then " : "";
  }
  static std::size_t running() { return clusters("RUNNING").size() + clusters("PENDING").size(); }

  std::string of_create(const Answer& row) {
    SharedClusters shared(database());
    const bool is_taken_on = row.fault.empty();
    const std::string id = is_taken_on ? cluster_of(row) : "";
    if (is_taken_on) {  // an earlier creator had started it
      ClusterLifecycle dying = lifecycle_of(hasty());
      dying.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
        creation.started(id);
        throw Error("killed");
      };
      EXPECT_THROW(shared.acquire(config(), dying), Error);
    }
    spoil(row, "/create");
    AcquireOptions options;
    options.timeout = is_taken_on ? 1s : 20s;
    try {
      const ClusterLease lease = shared.acquire(config(), lifecycle_of(hasty()), options);
      if (lease.cluster_id() == id) {
        EXPECT_EQ(clusters().size(), 1U);
        return row.goes_on ? "waits for it, and takes it on" : "takes it on";
      }
      EXPECT_EQ(running(), 1U);  // whatever becomes of a request, never two
      if (is_taken_on) return "asks for another";
      if (requests("/create") > 1) return "asks again: one cluster";
      const int usual = 2;  // before, and once it runs
      return requests("/list") > usual ? "finds it by its tag: one cluster" : "one cluster";
    } catch (const WorkspaceError& error) {
      EXPECT_EQ(running(), 0U);
      return fmt::format("{}: `{}`{}", error.may_succeed_again() ? "fails" : "all who wait fail",
                         name_of(error), shared.owed().empty() ? "" : "; the token is owed");
    } catch (const Timeout&) {
      return "waits until its deadline";
    }
  }

  static std::string of_check(const Answer& row) {
    const std::string id = cluster_of(row);
    spoil(row, "/get");
    try {
      const bool yes = hasty().check(id, brief());
      if (row.goes_on) return "waits, then yes";
      return again("/get", 1) + (yes ? "yes" : "no");
    } catch (const WorkspaceError& error) {
      return fmt::format("cannot tell: `{}`", name_of(error));
    } catch (const Timeout&) {
      return "cannot tell: waits until its deadline";
    }
  }

  static std::string of_terminate(const Answer& row) {
    const std::string id = cluster_of(row);
    spoil(row, "/delete");
    OwedTermination owed;
    owed.cluster_id = id;
    owed.host = fake().host();
    try {
      hasty().terminate(owed, Timestamp{}, brief());
      EXPECT_EQ(running(), 0U);
      if (!row.gone_form.empty()) return "done";
      return again("/delete", 1) + "terminates it";
    } catch (const WorkspaceError& error) {
      EXPECT_EQ(running(), 1U);
      return fmt::format("stays owed: `{}`", name_of(error));
    } catch (const Timeout&) {
      return "stays owed";
    }
  }

  std::string of_reconcile(const Answer& row) {
    CacheManager manager(database());
    const std::string id = cluster_of(row);
    manager.cache_new_cluster(id, ClusterConfig({{"host", fake().host()}}));
    // The list has what runs: of all else the workspace is asked one by one.
    if (!row.fault.empty()) tell("/clusters/" + id, object{{"state", "TERMINATED"}});
    spoil(row, "/get");
    CallBounds bounds;
    bounds.patience = 2500ms;
    std::string told;
    try {
      const ReconcileReport report = reconcile(manager, Workspace(fakes_own()), bounds);
      if (!report.running.empty()) told = "leaves it: it runs";
      if (!report.removed.empty()) told = again("/get", 1) + "takes it out";
      if (!report.unknown.empty()) told = "leaves it: not known";
    } catch (const WorkspaceError& error) {
      told = fmt::format("changes nothing: `{}`", name_of(error));
    }
    const bool is_there = !manager.get_all_clusters().empty();
    EXPECT_EQ(is_there, !told.ends_with("takes it out"));
    return told;
  }
};

struct Cell {
  std::size_t row;
  std::size_t column;
};

class WorkspaceAnswers : public AnswersTest, public testing::WithParamInterface<Cell> {};

TEST_P(WorkspaceAnswers, IsAsDocumented) {
  const Answer row = answers().at(GetParam().row);
  const auto table = documented();
  // The first two lines are the table's head.
  ASSERT_GT(table.size(), GetParam().row + 1);
  const auto& expected = table.at(GetParam().row + 1);
  EXPECT_EQ(expected.at(0), row.name);
  EXPECT_EQ(outcome(row, columns.at(GetParam().column)), expected.at(GetParam().column + 1));
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (std::size_t column = 0; column < columns.size(); ++column) {
    for (std::size_t row = 0; row < answers().size(); ++row) all.push_back({row, column});
  }
  return all;
}

/// Such as `Check_404_RESOURCE_DOES_NOT_EXIST`.
std::string cell_name(const testing::TestParamInfo<Cell>& info) {
  std::string name = columns.at(info.param.column) + "_";
  const Answer row = answers().at(info.param.row);
  for (const char c : row.name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || name.back() != '_') name += plain ? c : '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, WorkspaceAnswers, testing::ValuesIn(cells()), cell_name);

class WorkspaceAnswersTable : public AnswersTest {};

TEST_F(WorkspaceAnswersTable, HasEachAnswerOnce) {
  const bool update = std::getenv("DBCACHE_UPDATE_GOLDEN") != nullptr;
  if (!update) {
    EXPECT_EQ(documented().size(), answers().size() + 1);
    return;
  }
  std::ifstream before(DBCACHE_ANSWERS);
  std::ostringstream text;
  for (std::string line; std::getline(before, line) && !line.starts_with("|");)
    text << line << '\n';
  text << "| the workspace answers | " << fmt::format("{}", fmt::join(columns, " | "))
       << " |\n|---|---|---|---|---|\n";
  for (const Answer& row : answers()) {
    text << "| " << row.name;
    for (const std::string& column : columns) {
      forget();
      text << " | " << outcome(row, column);
    }
    text << " |\n";
  }
  std::ofstream(DBCACHE_ANSWERS) << text.str();
}

}  // namespace
}  // namespace dbcache::databricks
