#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

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
/// clock that stands still, and with none of the environment's settings.
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

  static std::int64_t events_in_log();
  static void write_file(const std::string& name, const std::string& content);

  static constexpr std::int64_t parent_pid = 4711;
  static constexpr const char* database = "Environment/Databricks/cluster_cache.db";

 private:
  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
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
