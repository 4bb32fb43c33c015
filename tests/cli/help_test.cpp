#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>

#include "cli/commands.hpp"
#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandPointer& command : make_commands()) names.push_back(command->describe().name);
  return names;
}

void expect_lines_fit(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

class HelpTest : public CliTest {};

TEST_F(HelpTest, OfTheProgram) {
  const std::string help = must("--help");
  expect_golden("help", help);
  expect_lines_fit(help);
}

class CommandHelpTest : public CliTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(CommandHelpTest, Golden) {
  const std::string& command = GetParam();
  expect_golden("help_" + command, must(command + " --help"));
  EXPECT_EQ(must("--help " + command), must(command + " --help"));
}

TEST_P(CommandHelpTest, LinesFitATerminal) { expect_lines_fit(must(GetParam() + " --help")); }

/// The example is run where what it speaks of exists.
TEST_P(CommandHelpTest, TheExampleWorks) {
  const std::string hash = "5f70bf18a086007016e948b04aed3b82";
  write_file("cluster.json", R"({"cluster_name": "test-cluster", "num_workers": 1})");
  must("register " + hash);
  must("cache cluster-123");

  const std::string help = must(GetParam() + " --help");
  const std::string before = "Example:\n  dbcache ";
  const auto at = help.find(before);
  ASSERT_NE(at, std::string::npos) << help;
  const auto begin = at + before.size();
  const std::string example = help.substr(begin, help.find('\n', begin) - begin);
  EXPECT_THAT(example, ::testing::StartsWith(GetParam()));
  const Result result = run(example);
  EXPECT_EQ(result.code, 0) << example << '\n' << result.err;
}

INSTANTIATE_TEST_SUITE_P(Cli, CommandHelpTest, ::testing::ValuesIn(command_names()),
                         [](const auto& command) {
                           std::string name = command.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace dbcache::cli
