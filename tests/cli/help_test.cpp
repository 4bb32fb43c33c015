#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>

#include "cli/commands/all.hpp"
#include "cli_test.hpp"

namespace dbcache::cli {
namespace {

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandPointer& command : make_commands()) names.push_back(command->describe().name);
  return names;
}

/// All but the one that goes on until it is told to end; watch_test.cpp does.
std::vector<std::string> commands_that_end() {
  std::vector<std::string> names = command_names();
  // Those of a workspace are run in tests/workspace.
  for (const char* const name : {"watch", "run", "acquire", "workspace", "reconcile"}) {
    std::erase(names, name);
  }
  return names;
}

void expect_lines_fit(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

class HelpTest : public CliTest {};

TEST_F(HelpTest, ProgramHelpIsGolden) {
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

/// Where the examples are run: what they speak of exists.
class ExampleTest : public CommandHelpTest {
 protected:
  ExampleTest() {
    write_file("cluster.json", R"({"cluster_name": "test-cluster", "num_workers": 1})");
    write_program("create.sh", "echo cluster-456");
    write_program("terminate.sh", "exit 0");
    write_program("pytest", "exit 0");
    must("register 5f70bf18a086007016e948b04aed3b82");
    must("cache cluster-123");
  }
  static void write_program(const std::string& name, const std::string& line) {
    write_file(name, "#!/bin/sh\n" + line + "\n");
    std::filesystem::permissions(name, std::filesystem::perms::owner_all);
  }
  /// The example of a command's help, with what stands for a number in it.
  std::string example() {
    const std::string help = must(GetParam() + " --help");
    const std::string before = "Example:\n  dbcache ";
    const auto at = help.find(before);
    if (at == std::string::npos) throw std::runtime_error(help);
    const auto begin = at + before.size();
    std::string example = help.substr(begin, help.find('\n', begin) - begin);
    if (example.find(" 17") != std::string::npos) {
      const std::string lease = must("acquire --config cluster.json --create ./create.sh");
      replace(example, "17-0123456789abcdef", lease.substr(0, lease.size() - 1));
    }
    // Last: a process's number may hold the digits of the lease above.
    replace(example, "$$", std::to_string(::getpid()));
    return example;
  }

 private:
  static void replace(std::string& text, const std::string& what, const std::string& by) {
    const auto at = text.find(what);
    if (at != std::string::npos) text.replace(at, what.size(), by);
  }

  const test::ScopedVariable path_{"PATH", ".:" + std::string(std::getenv("PATH"))};
};

TEST_P(ExampleTest, Works) {
  if (GetParam() == "move") must("cleanup-shared");  // nobody may be creating meanwhile
  const std::string line = example();
  EXPECT_THAT(line, ::testing::StartsWith(GetParam()));
  // It is for a create command, in which alone it can work.
  const Result result =
      GetParam() == "started"
          ? run_words({"run", "--config", "cluster.json", "--create",
                       DBCACHE_COMMAND " " + line + " && echo cluster-123", "--", "true"})
          : run(line);
  EXPECT_EQ(result.code, 0) << line << '\n' << result.err;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& command) {
  std::string name = command.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Cli, CommandHelpTest, ::testing::ValuesIn(command_names()), test_name);
INSTANTIATE_TEST_SUITE_P(Cli, ExampleTest, ::testing::ValuesIn(commands_that_end()), test_name);

}  // namespace
}  // namespace dbcache::cli
