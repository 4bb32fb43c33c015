#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"
#include "support/test_database.hpp"

namespace dbcache::cli {

/// Who sits where, for one command.
enum class Seat {
  script,    ///< stdin, stdout and stderr are pipes.
  terminal,  ///< All three are a terminal.
};

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

/// Runs commands in this process: in a directory of its own, which is the current one, under a
/// clock that stands still, and with none of the environment's settings. The database is where it
/// is by default, or on PostgreSQL where the environment says.
class CliTest : public ::testing::Test {
 protected:
  CliTest();
  ~CliTest() override;

  /// Runs `dbcache LINE`. Words are split at spaces; '...' holds one together.
  Result run(const std::string& line, const std::string& input = "", Seat seat = Seat::script);
  Result run_words(const std::vector<std::string>& words, const std::string& input = "",
                   Seat seat = Seat::script);
  /// The same for a line that a test needs done; returns what it printed.
  std::string must(const std::string& line, const std::string& input = "");

  /// Sets the clock.
  void at(std::string_view time) { clock_.set(time); }

  /// Runs each line, as above, and writes down what a person would see of it all.
  std::string transcript(std::initializer_list<std::string> lines);

  /// Whether anything is there by now.
  [[nodiscard]] bool database_exists() const;
  /// As commands that dbcache runs are told it.
  [[nodiscard]] std::string database_name() const;
  /// Comes back once nothing is left of the program's processes that were killed.
  void await_the_killed() const;

  static std::int64_t events_in_log();
  static void write_file(const std::string& name, const std::string& content);

  static constexpr std::int64_t parent_pid = 4711;
  static constexpr const char* database = "Environment/Databricks/cluster_cache.db";

 private:
  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  test::TestDatabase database_;
  std::optional<test::ScopedVariable> location_;
  std::optional<test::ScopedVariable> schema_;
  test::ManualClock clock_;
  std::filesystem::path before_;
};

/// The words of a command line, without the program's name.
std::vector<std::string> split_words(const std::string& line);

/// `text` with what differs from run to run or machine to machine replaced by names.
std::string scrub(std::string text);

/// Compares with golden/NAME.txt. With DBCACHE_UPDATE_GOLDEN=1 in the environment, writes it.
void expect_golden(const std::string& name, const std::string& text);

}  // namespace dbcache::cli
