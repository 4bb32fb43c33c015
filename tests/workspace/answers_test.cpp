#include "answers.hpp"

#include <cctype>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dbcache/cache_manager.hpp>

#include "face/reconcile.hpp"
#include "workspace_test.hpp"

// Each state of a cluster, each form of gone, each error body and each fault, by what create,
// check, terminate and reconcile do: docs/workspace-answers.md has the tables of it, and what is
// expected here. DBCACHE_UPDATE_GOLDEN=1 writes it.
namespace dbcache::databricks {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using test::Answer;
using workspace::Bounds;

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

/// Ends a wait that would last.
struct WaitsOn : std::exception {};

class AnswersTest : public test::WorkspaceTest {
 public:
  // ---- Creations

  /// An earlier creator knew the cluster.
  std::string create_started(const Answer& row) { return taken_on(row, true); }
  /// An earlier creator died before it knew the cluster.
  std::string create_tagged(const Answer& row) { return taken_on(row, false); }
  /// The same, and the workspace takes a token as it once was documented.
  std::string create_honoured(const Answer& row) {
    set("token_mode", "honoured");
    return taken_on(row, false);
  }

  /// The request to make a cluster.
  std::string create_anew(const Answer& row) {
    set("start_seconds", 0.02);
    spoil(row, "/create");
    return acquired(row, {}, [](const ClusterLease&) -> std::string {
      if (requests("/create") > 1) return "asks again: one cluster";
      const int usual = 2;  // before, and once it runs
      return requests("/list") > usual ? "finds it by its tag: one cluster" : "one cluster";
    });
  }

  /// A cluster of its own, while it starts.
  std::string create_awaited(const Answer& row) {
    set("start_seconds", 3600);
    bool starts = false;
    AcquireOptions options;
    options.on_wait = [&](const WaitProgress& progress) {
      if (!progress.doing.starts_with("Finding instances")) {
        if (starts && row.is_for_all) throw WaitsOn();
        return;
      }
      if (std::exchange(starts, true)) return;
      const std::string id = text(clusters().at(0).at("cluster_id"));
      if (!row.fault.empty()) tell("/clusters/" + id, object{{"start_seconds", 0.02}});
      befall(id, row);
      spoil(row, "/get");
    };
    return acquired(row, options, [&](const ClusterLease&) -> std::string {
      EXPECT_TRUE(starts);
      EXPECT_EQ(requests("/create"), 1);
      return row.state.empty() || row.goes_on ? "waits on, then uses it" : "uses it";
    });
  }

  // ---- The others

  std::string check(const Answer& row) {
    const std::string id = cluster_of(row);
    spoil(row, "/get");
    try {
      const bool yes = asking(row).check(id, Bounds{}.at_most(20s));
      if (row.goes_on) return "waits, then yes";
      return again("/get", 1) + (yes ? "yes" : "no");
    } catch (const WorkspaceError& error) {
      return fmt::format("cannot tell: `{}`", name_of(error));
    }
  }

  std::string terminate(const Answer& row) {
    OwedTermination owed;
    owed.cluster_id = cluster_of(row);
    return terminated(row, owed, "/delete");
  }

  std::string terminate_tagged(const Answer& row) {
    OwedTermination owed;
    owed.idempotency_token = "dbcache-1";
    cluster_of(row, *owed.idempotency_token);
    return terminated(row, owed, "/list");
  }

  std::string reconcile_listed(const Answer& row) { return reconciled(row, "/list"); }
  std::string reconcile_shown(const Answer& row) { return reconciled(row, "/get"); }

  /// Forgets all that a cell before has left.
  void forget() {
    tell("/reset", object{});
    const auto directory = std::filesystem::path(database().database).parent_path();
    for (const auto& file : std::filesystem::directory_iterator(directory)) {
      std::filesystem::remove(file.path());
    }
    set("token_mode", "ignored");
  }

 private:
  /// The cluster that a row is about, with the tag of a token.
  static std::string cluster_of(const Answer& row, const std::string& token = {}) {
    object given{{"state", "RUNNING"}};
    if (!token.empty()) {
      given["custom_tags"] = object{{"dbcache-token", token}};
      given["idempotency_token"] = token;
    }
    const std::string id = made(given);
    befall(id, row);
    return id;
  }
  /// Brings a cluster to where the row has it.
  static void befall(const std::string& id, const Answer& row) {
    if (!row.gone_form.empty()) {
      set("gone_form", boost::json::string(row.gone_form));
      set("terminate_seconds", 0);
      hasty().clusters().remove(id, true, {});
    }
    if (row.state.empty()) return;
    tell("/clusters/" + id, object{{"state", row.state}});
    if (row.goes_on) tell("/clusters/" + id, object{{"start_seconds", 0.02}, {"forced", false}});
  }
  static void spoil(const Answer& row, const char* path) {
    if (row.fault.empty()) return;
    object given = row.fault;
    given["path"] = row.is_for_all ? "" : path;
    fault(given);
  }

  static workspace::Lifecycle asking(const Answer& row) {
    return hasty({60, false}, fakes_own(), row.is_for_all ? 300ms : 3000ms);
  }
  /// Whether a fault led to more requests than the usual ones.
  static std::string again(const char* path, int usual) {
    return requests(path) > usual ? "asks again, then " : "";
  }
  /// How many clusters cost something.
  static std::size_t living() {
    std::size_t count = 0;
    for (const object& cluster : clusters()) {
      const std::string state = text(cluster.at("state"));
      const bool has_ended = state == "TERMINATING" || state == "TERMINATED" || state == "ERROR";
      if (!has_ended && cluster.at("removed_at").is_null()) ++count;
    }
    return count;
  }

  std::string taken_on(const Answer& row, bool is_known) {
    std::string id;
    ClusterLifecycle dying = lifecycle_of(hasty());
    dying.create = [&](const ClusterConfig&, Creation& creation) -> std::string {
      id = cluster_of(row, creation.idempotency_token());
      if (is_known) creation.started(id);
      throw Error("killed");
    };
    EXPECT_THROW(SharedClusters(database()).acquire(config(), dying), Error);
    set("start_seconds", 0.02);
    const char* const path = is_known ? "/get" : "/list";
    spoil(row, path);
    AcquireOptions options;
    options.on_wait = [&](const WaitProgress& progress) {
      const bool waits_for_end = progress.doing.ends_with("ends before another can start");
      if (waits_for_end) tell("/clusters/" + id, object{{"state", "TERMINATED"}});
    };
    return acquired(row, options, [&](const ClusterLease& lease) -> std::string {
      if (lease.cluster_id() != id) {
        return requests("/create") > 1 ? "asks for another, once it has ended" : "asks for another";
      }
      const int usual = 2;  // before, and while it starts or once it runs
      if (!row.fault.empty()) return again(path, usual) + "takes it on";
      return row.goes_on ? "waits for it, and takes it on" : "takes it on";
    });
  }

  std::string acquired(const Answer& row, AcquireOptions options,
                       const std::function<std::string(const ClusterLease&)>& outcome) {
    SharedClusters shared(database());
    options.timeout = 20s;
    const auto on_wait = options.on_wait;
    options.on_wait = [&](const WaitProgress& progress) {
      if (on_wait) on_wait(progress);
      if (row.says_nothing && progress.doing == "UNKNOWN") throw WaitsOn();
    };
    std::string told;
    try {
      told = outcome(shared.acquire(config(), lifecycle_of(asking(row)), options));
      EXPECT_EQ(living(), 1U) << "two clusters for one creation";
      return told;
    } catch (const WorkspaceError& error) {
      told = fmt::format("{}: `{}`", error.may_succeed_again() ? "fails" : "all who wait fail",
                         name_of(error));
    } catch (const WaitsOn&) {
      told = row.is_for_all ? "waits on" : "waits until its deadline";
    }
    const bool is_owed = !shared.owed().empty();
    EXPECT_TRUE(is_owed || living() == 0) << "a cluster that nobody knows";
    return told + (is_owed ? "; stays owed" : "");
  }

  static std::string terminated(const Answer& row, OwedTermination owed, const char* path) {
    owed.host = fake().host();
    const bool had_ended = living() == 0;
    spoil(row, path);
    try {
      asking(row).terminate(owed, owed.owed_at + 3min, Bounds{}.at_most(20s));
      EXPECT_EQ(living(), 0U) << "settled, and the cluster lives";
      return (row.fault.empty() ? "" : again(path, 1)) + (had_ended ? "done" : "terminates it");
    } catch (const WorkspaceError& error) {
      EXPECT_EQ(living(), 1U);
      return fmt::format("stays owed: `{}`", name_of(error));
    }
  }

  std::string reconciled(const Answer& row, const char* path) {
    const workspace::Lifecycle asked = asking(row);
    const std::string host = asked.clusters().api().host();
    CacheManager manager(database());
    const std::string id = cluster_of(row);
    manager.cache_new_cluster(id, ClusterConfig({{"host", host}}));
    // The list has what runs: of all else the workspace is asked one by one.
    if (!row.fault.empty()) tell("/clusters/" + id, object{{"state", "TERMINATED"}});
    spoil(row, path);
    std::string told;
    try {
      const ReconcileReport report = reconcile(
          manager, {host, [&] { return asked.clusters().list(workspace::active_states, {}); },
                    [&](const std::string& one) { return asked.clusters().get(one, {}); }});
      if (!report.running.empty()) told = "leaves it: it runs";
      if (!report.removed.empty())
        told = (row.fault.empty() ? "" : again(path, 1)) + "takes it out";
      if (!report.unknown.empty()) told = "leaves it: not known";
    } catch (const WorkspaceError& error) {
      told = fmt::format("changes nothing: `{}`", name_of(error));
    }
    const bool is_there = !manager.get_all_clusters().empty();
    EXPECT_EQ(is_there, !told.ends_with("takes it out"));
    return told;
  }
};

// ---- The tables

struct Column {
  std::string name;
  std::string (AnswersTest::*outcome)(const Answer&);
};
struct Table {
  std::string heading;
  std::string corner;
  std::vector<Column> columns;
  std::vector<Answer> rows;
};

const std::vector<Table>& tables() {
  static const std::vector<Table> all{
      {"## What a cluster does",
       "the cluster is",
       {{"create, of one that was started", &AnswersTest::create_started},
        {"create, of one with the tag", &AnswersTest::create_tagged},
        {"create, where tokens are honoured", &AnswersTest::create_honoured},
        {"create, while its own starts", &AnswersTest::create_awaited},
        {"check", &AnswersTest::check},
        {"terminate", &AnswersTest::terminate},
        {"terminate, by its tag", &AnswersTest::terminate_tagged},
        {"reconcile", &AnswersTest::reconcile_shown}},
       test::states()},
      {"## What create is answered",
       "the workspace answers",
       {{"create", &AnswersTest::create_anew},
        {"create: get, while it starts", &AnswersTest::create_awaited},
        {"create: get, of one that was started", &AnswersTest::create_started},
        {"create: list, for the tag", &AnswersTest::create_tagged}},
       test::answers()},
      {"## What check, terminate and reconcile are answered",
       "the workspace answers",
       {{"check: get", &AnswersTest::check},
        {"terminate: delete", &AnswersTest::terminate},
        {"terminate: list, for the tag", &AnswersTest::terminate_tagged},
        {"reconcile: list", &AnswersTest::reconcile_listed},
        {"reconcile: get", &AnswersTest::reconcile_shown}},
       test::answers()},
  };
  return all;
}

using Lines = std::vector<std::vector<std::string>>;

/// The tables of docs/workspace-answers.md by their headings, without their heads.
std::map<std::string, Lines> documented() {
  std::ifstream file(DBCACHE_ANSWERS);
  std::map<std::string, Lines> found;
  bool is_in_table = false;
  std::string heading;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) heading = line;
    const bool is_head = !is_in_table;
    is_in_table = line.starts_with("|");
    if (!line.starts_with("| ") || is_head) continue;
    std::vector<std::string>& cells = found[heading].emplace_back();
    for (std::size_t at = 2; at < line.size();) {
      const std::size_t end = line.find(" |", at);
      cells.push_back(line.substr(at, end - at));
      at = end + 3;
    }
  }
  return found;
}

struct Cell {
  std::size_t table;
  std::size_t row;
  std::size_t column;
};

class WorkspaceAnswers : public AnswersTest, public testing::WithParamInterface<Cell> {};

TEST_P(WorkspaceAnswers, IsAsDocumented) {
  const auto [table, row, column] = GetParam();
  const Table& own = tables().at(table);
  const auto documents = documented();
  ASSERT_TRUE(documents.contains(own.heading));
  const Lines& lines = documents.at(own.heading);
  ASSERT_EQ(lines.size(), own.rows.size());
  EXPECT_EQ(lines.at(row).at(0), own.rows.at(row).name);
  forget();
  EXPECT_EQ((this->*own.columns.at(column).outcome)(own.rows.at(row)),
            lines.at(row).at(column + 1));
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (std::size_t table = 0; table < tables().size(); ++table) {
    for (std::size_t column = 0; column < tables()[table].columns.size(); ++column) {
      for (std::size_t row = 0; row < tables()[table].rows.size(); ++row)
        all.push_back({table, row, column});
    }
  }
  return all;
}

/// Such as `check_get_404_ENDPOINT_NOT_FOUND`.
std::string cell_name(const testing::TestParamInfo<Cell>& info) {
  const Table& table = tables().at(info.param.table);
  std::string name;
  for (const char c :
       table.columns.at(info.param.column).name + "_" + table.rows.at(info.param.row).name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || name.back() != '_') name += plain ? c : '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, WorkspaceAnswers, testing::ValuesIn(cells()), cell_name);

class WorkspaceAnswersTable : public AnswersTest {
 protected:
  std::string written(const Table& table) {
    std::string text = "| " + table.corner;
    for (const Column& column : table.columns) text += " | " + column.name;
    text += " |\n|---";
    for (std::size_t count = 0; count < table.columns.size(); ++count) text += "|---";
    text += "|\n";
    for (const Answer& row : table.rows) {
      text += "| " + row.name;
      for (const Column& column : table.columns) {
        forget();
        SCOPED_TRACE(column.name + ": " + row.name);
        text += " | " + (this->*column.outcome)(row);
      }
      text += " |\n";
    }
    return text;
  }
};

TEST_F(WorkspaceAnswersTable, IsWrittenIfItIsAskedFor) {
  if (std::getenv("DBCACHE_UPDATE_GOLDEN") == nullptr) GTEST_SKIP();
  std::ifstream before(DBCACHE_ANSWERS);
  std::ostringstream text;
  bool is_blank = false;
  for (std::string line; std::getline(before, line);) {
    if (line.starts_with("|") || (is_blank && line.empty())) continue;
    is_blank = line.empty();
    text << line << '\n';
    for (const Table& table : tables()) {
      // The text of a section stands beneath its table.
      if (table.heading == line) text << '\n' << written(table);
    }
  }
  std::ofstream(DBCACHE_ANSWERS) << text.str();
}

}  // namespace
}  // namespace dbcache::databricks
