#include "cli_test.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <pwd.h>
#include <sstream>
#include <unistd.h>

#include "cli/command_line.hpp"
#include "support/raw_database.hpp"

namespace dbcache::cli {
namespace {

void replace_all(std::string& text, const std::string& found, const std::string& by) {
  if (found.empty()) return;
  for (auto at = text.find(found); at != std::string::npos; at = text.find(found, at + by.size())) {
    text.replace(at, found.size(), by);
  }
}

/// Replaces what stands between `before` and the next of `ends`, but for 0.
void replace_after(std::string& text, const std::string& before, const char* ends,
                   const std::string& by) {
  for (auto at = text.find(before); at != std::string::npos; at = text.find(before, at)) {
    at += before.size();
    const auto length = std::min(text.find_first_of(ends, at), text.size()) - at;
    if (text.substr(at, length) != "0") text.replace(at, length, by);
  }
}

/// Replaces words of 64 hex digits.
void replace_hashes(std::string& text) {
  constexpr const char* digits = "0123456789abcdef";
  for (auto at = text.find_first_of(digits); at != std::string::npos;
       at = text.find_first_of(digits, at)) {
    const auto end = std::min(text.find_first_not_of(digits, at), text.size());
    if (end - at == 64) text.replace(at, 64, "<hash>");
    at = std::max(end - at == 64 ? at + 6 : end, at + 1);
  }
}

/// Replaces the numbers before ` bytes`, but for 0.
void replace_sizes(std::string& text) {
  const std::string unit = " bytes";
  for (auto at = text.find(unit); at != std::string::npos; at = text.find(unit, at + 1)) {
    const auto begin = text.find_last_not_of("0123456789", at - 1) + 1;
    if (text.compare(begin, at - begin, "0") == 0) continue;
    text.replace(begin, at - begin, "<size>");
    at = begin + 6;
  }
}

std::string host_name() {
  std::string name(256, '\0');
  ::gethostname(name.data(), name.size() - 1);
  return name.c_str();
}

std::string user_name() {
  const passwd* const entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : std::to_string(::geteuid());
}

}  // namespace

namespace {

// Before any test: what a shell has its background jobs ignore, they would ignore too, and what
// they start.
[[maybe_unused]] const bool signals_are_default = [] {
  for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGTERM}) ::signal(number, SIG_DFL);
  return true;
}();

}  // namespace

CliTest::CliTest() : clock_("2024-01-15T10:30:00"), before_(std::filesystem::current_path()) {
  std::filesystem::current_path(directory_.path());
  if (!test::over_postgres()) return;
  location_.emplace("DBCACHE_DATABASE", database_.location());
  schema_.emplace("DBCACHE_SCHEMA", database_.schema());
  test::name_sessions(database_.schema());
}

CliTest::~CliTest() { std::filesystem::current_path(before_); }

Result CliTest::run_words(const std::vector<std::string>& words, const std::string& input,
                          Seat seat) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const bool terminal = seat == Seat::terminal;
  Terminal around{.in = in,
                  .out = out,
                  .err = err,
                  .in_is_terminal = terminal,
                  .out_is_terminal = terminal,
                  .err_is_terminal = terminal,
                  .no_color = false,
                  .clock = clock_.clock(),
                  .parent_pid = parent_pid};
  const int code = cli::run_command_line(words, around);
  return {code, out.str(), err.str()};
}

Result CliTest::run(const std::string& line, const std::string& input, Seat seat) {
  return run_words(split_words(line), input, seat);
}

std::string CliTest::must(const std::string& line, const std::string& input) {
  const Result result = run(line, input);
  if (result.code != 0) throw std::runtime_error("dbcache " + line + ": " + result.err);
  return result.out;
}

bool CliTest::database_exists() const {
  return test::over_postgres() ? database_.exists() : std::filesystem::exists(database);
}

std::string CliTest::database_name() const {
  return test::over_postgres() ? database_.location()
                               : (std::filesystem::current_path() / database).string();
}

void CliTest::await_the_killed() const { test::await_end_of_sessions(database_.schema()); }

std::int64_t CliTest::events_in_log() {
  if (!std::filesystem::exists(database)) return 0;
  return std::stoll(test::query_text(database, "SELECT count(*) FROM events"));
}

void CliTest::write_file(const std::string& name, const std::string& content) {
  std::ofstream(name, std::ios::binary) << content;
}

std::string CliTest::transcript(std::initializer_list<std::string> lines) {
  std::string seen;
  for (const std::string& line : lines) {
    const Result result = run(line);
    if (!seen.empty()) seen += '\n';
    seen += "$ dbcache " + line + '\n' + result.out + result.err;
    if (result.code != 0) seen += "[exit " + std::to_string(result.code) + "]\n";
  }
  // What people see differs by the database's name alone.
  if (test::over_postgres()) {
    replace_all(seen, database_.location(), (std::filesystem::current_path() / database).string());
  }
  return scrub(seen);
}

std::vector<std::string> split_words(const std::string& line) {
  std::vector<std::string> words;
  bool in_word = false;
  bool quoted = false;
  for (const char character : line) {
    if (character == ' ' && !quoted) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (character == '\'') {
      quoted = !quoted;
    } else {
      words.back() += character;
    }
  }
  return words;
}

std::string scrub(std::string text) {
  replace_all(text, std::filesystem::current_path().string(), "<directory>");
  const std::string program = program_invocation_short_name;
  const std::string pid = std::to_string(::getpid());
  const std::string who = user_name() + "@" + host_name();
  replace_all(text, who + ", " + program + " pid " + pid, "<user>@<host>, <program> pid <pid>");
  replace_all(text, "\"host\":\"" + host_name() + "\"", "\"host\":\"<host>\"");
  replace_all(text, "\"user\":\"" + user_name() + "\"", "\"user\":\"<user>\"");
  replace_all(text, "\"program\":\"" + program + "\"", "\"program\":\"<program>\"");
  replace_all(text, "\"pid\":" + pid, "\"pid\":<pid>");
  replace_after(text, "\"command_id\":\"", "\"", "<command>");
  replace_after(text, "\"start_time\":", ",}", "<start>");
  replace_after(text, "\"boot_id\":", ",}", "<boot>");
  replace_after(text, "\"pid_namespace\":", ",}", "<namespace>");
  replace_after(text, "_size\":", ",}", "<size>");
  replace_hashes(text);
  replace_sizes(text);
  return text;
}

void expect_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path =
      std::filesystem::path(DBCACHE_GOLDEN_DIRECTORY) / (name + ".txt");
  const char* const update = std::getenv("DBCACHE_UPDATE_GOLDEN");
  if (update != nullptr && std::string_view(update) == "1") {
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file) << path << " is missing; DBCACHE_UPDATE_GOLDEN=1 records it";
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, golden) << "differs from " << path << "; DBCACHE_UPDATE_GOLDEN=1 records it anew";
}

}  // namespace dbcache::cli
