#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "bench/measure.hpp"
#include "bench/report.hpp"
#include "bench/roles.hpp"
#include "bench/rows.hpp"

// One table: what dbcache's calls cost beside a program written by hand with SQLite (baseline.hpp),
// measured in the same run, by turns. docs/performance.md says what each row measures.
namespace {

using dbcache::bench::Report;
using dbcache::bench::Settings;

/// In processors. The kernel's own threads, which write what was committed, are in it.
constexpr double most_other_work = 0.25;

using Measure = void (*)(const Settings&, Report&);
const std::map<int, Measure> rows{
    {1, dbcache::bench::measure_one_thread}, {2, dbcache::bench::measure_threads},
    {3, dbcache::bench::measure_processes},  {4, dbcache::bench::measure_reads},
    {5, dbcache::bench::measure_replay},     {6, dbcache::bench::measure_growth},
    {7, dbcache::bench::measure_start},      {8, dbcache::bench::measure_waiting_memory}};

/// A new directory, removed at the end.
class Directory {
 public:
  explicit Directory(const std::filesystem::path& parent) {
    std::filesystem::create_directories(parent);
    std::string pattern = (std::filesystem::absolute(parent) / "dbcache-speed-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("no directory can be made in " + parent.string());
    }
    path_ = pattern;
  }
  ~Directory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void run(Settings settings, const std::filesystem::path& parent, const std::vector<int>& only,
         const std::string& json) {
  for (const char* name : {"DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLUSTER_ID",
                           "DBCACHE_DATABASE", "DBCACHE_LABEL", "DBCACHE_LEASE"}) {
    ::unsetenv(name);
  }
  std::signal(SIGPIPE, SIG_IGN);  // a worker that died is told of by name
  const Directory directory(parent);
  settings.directory = directory.path();
  auto machine = dbcache::bench::describe_machine(settings.directory.string());
  const dbcache::bench::OtherWork other_work;
  Report report;
  for (const auto& [number, measure] : rows) {
    if (only.empty() || std::find(only.begin(), only.end(), number) != only.end()) {
      measure(settings, report);
    }
  }
  const double others = other_work.processors();
  machine["processors_used_by_others"] = fmt::format("{:.2f}", others);
  if (others > most_other_work) {
    report.note(fmt::format(
        "Other programs took {:.2f} processors meanwhile: these figures, those of durable calls "
        "above all, say nothing. Measure again on a machine that does nothing else.",
        others));
  }
  report.print(std::cout, machine);
  if (json.empty()) return;
  std::ofstream file(json);
  file << report.to_json(machine) << "\n";
  if (!file.flush()) throw std::runtime_error(json + " cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 2 && std::string_view(argv[1]) == "role") {
      return dbcache::bench::play({argv + 2, argv + argc});
    }
    CLI::App app("Measures dbcache beside a program written by hand with SQLite.");
    bool quick = false;
    int rounds = 0;
    std::vector<int> only;
    std::string directory = std::filesystem::temp_directory_path().string();
    std::string json;
    app.add_flag("--quick", quick, "In under two minutes: shorter rounds, shorter logs");
    app.add_option("--rounds", rounds, "How many rounds, 5 by default")->check(CLI::Range(1, 1000));
    app.add_option("--only", only, "Rows to measure, as 1,3; all by default")
        ->delimiter(',')
        ->check(CLI::Range(1, 8));
    app.add_option("--directory", directory,
                   "Where to make the databases, of 5 GB in all (0.5 with --quick); removed at "
                   "the end");
    app.add_option("--json", json, "A file for all that was measured");
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : 2;
    }
    Settings settings = quick ? dbcache::bench::quick_settings() : Settings{};
    if (rounds > 0) settings.rounds = rounds;
    run(settings, directory, only, json);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dbcache_speed: " << error.what() << "\n";
    return 1;
  }
}
