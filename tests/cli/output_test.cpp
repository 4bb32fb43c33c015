#include <sstream>
#include <streambuf>

#include <gmock/gmock.h>

#include "cli/command_line.hpp"
#include "cli/print.hpp"
#include "cli_test.hpp"
#include "support/raw_database.hpp"

namespace dbcache::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(EscapeTest, LeavesPlainTextAlone) {
  EXPECT_EQ(escape("cluster-123"), "cluster-123");
  EXPECT_EQ(escape("Größe 東京 🦀"), "Größe 東京 🦀");
  EXPECT_EQ(escape(""), "");
}

TEST(EscapeTest, ShowsControlCharacters) {
  EXPECT_EQ(escape("a\nb\tc\x1b[31m\x7f"), "a\\x0ab\\x09c\\x1b[31m\\x7f");
  EXPECT_EQ(escape(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(EscapeTest, ShowsC1Controls) {
  EXPECT_EQ(escape("\u0080\u009b31m\u009f"), "\\u0080\\u009b31m\\u009f");
  EXPECT_EQ(escape("\u00a0"), "\u00a0");
}

TEST(EscapeTest, ShowsCharactersThatSetTheDirectionOfText) {
  EXPECT_EQ(escape("\u061c\u200e\u200f\u202a\u202e\u2066\u2069"),
            "\\u061c\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069");
  EXPECT_EQ(escape("\u2028\u2029"), "\\u2028\\u2029");
}

TEST(EscapeTest, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(escape("a\xff"), "a\\xff");
  EXPECT_EQ(escape("\xc3"), "\\xc3");                             // Cut short.
  EXPECT_EQ(escape("\xc0\xaf"), "\\xc0\\xaf");                    // Overlong.
  EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // A surrogate.
  EXPECT_EQ(escape("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // Past U+10FFFF.
  EXPECT_EQ(escape("\x80\xc3\xa4"), "\\x80ä");
}

class OutputTest : public CliTest {
 protected:
  /// Runs with streams of the test's own.
  int run_with(const std::string& line, std::ostream& out, std::ostream& err, bool out_is_terminal,
               bool no_color) {
    std::istringstream in;
    Terminal terminal{.in = in,
                      .out = out,
                      .err = err,
                      .in_is_terminal = false,
                      .out_is_terminal = out_is_terminal,
                      .err_is_terminal = false,
                      .no_color = no_color,
                      .clock = {},
                      .parent_pid = parent_pid};
    return cli::run_command_line(split_words(line), terminal);
  }
};

TEST_F(OutputTest, NamesFromTheLogCannotControlTheTerminal) {
  const std::string steering = "a\x1b[2J\u202eb";
  write_file("config.json", "{\"cluster_name\": \"x\\u001b[31m\\u202e\", \"host\": \"a\\nb\"}");
  ASSERT_EQ(run_words({"cache", "cluster-1", "--config", "config.json"}).code, 0);
  ASSERT_EQ(run_words({"register", steering}).code, 0);
  ASSERT_EQ(run_words({"mark", steering, "failed", "--error", "no\x1b]0;title\x07"}).code, 0);
  for (const std::vector<std::string>& words : {std::vector<std::string>{"status"},
                                                {"list"},
                                                {"shared"},
                                                {"shared", steering},
                                                {"history"},
                                                {"history", steering},
                                                {"register", steering},
                                                {"access", "cluster-1"},
                                                {"cache", steering},
                                                {"access", steering},
                                                {"access", steering + "?"},
                                                {"mark", steering, "failed"},
                                                {"use", steering + "?"},
                                                {"mark", steering + "?", "failed"},
                                                {"clear"},
                                                {"cleanup-shared"},
                                                {"remove", steering},
                                                {"nothing", steering},
                                                {steering}}) {
    const Result result = run_words(words);
    for (const std::string& text : {result.out, result.err}) {
      EXPECT_THAT(text, Not(HasSubstr("\x1b"))) << words.front();
      EXPECT_THAT(text, Not(HasSubstr("\u202e"))) << words.front();
    }
  }
}

TEST_F(OutputTest, DriftAndProblemsCannotControlTheTerminal) {
  must("cache cluster-1");
  test::run_sql(
      database,
      "INSERT INTO clusters (cluster_id, expiry_time) VALUES ('x' || char(27) || '[2J', 'soon')");
  const Result result = run("replay --check");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("x\\x1b[2J"));
}

TEST_F(OutputTest, HistoryHasColoursOnATerminalOnly) {
  must("cache cluster-1");
  const auto printed = [this](bool terminal, bool no_color) {
    std::ostringstream out;
    std::ostringstream err;
    run_with("history", out, err, terminal, no_color);
    return out.str();
  };
  EXPECT_THAT(printed(true, false), HasSubstr("\x1b[1mClusterCached\x1b[0m"));
  EXPECT_THAT(printed(false, false), Not(HasSubstr("\x1b")));
  EXPECT_THAT(printed(true, true), Not(HasSubstr("\x1b")));
}

TEST_F(OutputTest, JsonIsNeverColoured) {
  must("cache cluster-1");
  EXPECT_THAT(run("history --json", "", Seat::terminal).out, Not(HasSubstr("\x1b")));
}

/// Takes everything, and fails when it is to be written: as /dev/full does.
class FullDisk : public std::streambuf {
  int_type overflow(int_type character) override { return traits_type::not_eof(character); }
  int sync() override { return -1; }
};

/// Takes nothing: as a closed stdout does.
class ClosedOutput : public std::streambuf {};

TEST_F(OutputTest, OutputThatCannotBeWrittenIsAnError) {
  FullDisk full;
  ClosedOutput closed;
  for (std::streambuf* const buffer :
       {static_cast<std::streambuf*>(&full), static_cast<std::streambuf*>(&closed)}) {
    for (const char* const line : {"status", "status --json", "--help", "--version"}) {
      std::ostream out(buffer);
      std::ostringstream err;
      EXPECT_EQ(run_with(line, out, err, false, false), 3) << line;
      EXPECT_EQ(
          err.str(),
          "dbcache: the command ran, but its output could not be written; check that stdout is "
          "open and its disk is not full\n")
          << line;
    }
  }
}

TEST_F(OutputTest, JsonIsOneDocumentOnOneLine) {
  must("cache cluster-1");
  must("register team-tests");
  for (const std::string& line :
       std::vector<std::string>{"status",
                                "list",
                                "cleanup",
                                "shared",
                                "shared team-tests",
                                "dbinfo",
                                "optimize",
                                "history",
                                "replay --check",
                                "replay",
                                "verify",
                                "cache cluster-2",
                                "access cluster-2",
                                "remove cluster-2",
                                "register team-tests",
                                "can-join team-tests",
                                "mark team-tests failed",
                                "use team-tests",
                                "unuse team-tests",
                                "hash --config -",
                                "clear",
                                "cleanup-shared",
                                "move --from " + database_name() + " --to b.db"}) {
    const Result result = run(line + " --json", "{}");
    EXPECT_EQ(result.code, 0) << line << result.err;
    EXPECT_THAT(result.out, ::testing::MatchesRegex("[{[][^\n]*[]}]\n")) << line;
    EXPECT_EQ(result.err, "") << line;
  }
}

TEST_F(OutputTest, TheLibraryLogsToStderrAtTheGivenLevel) {
  must("cache cluster-1");
  EXPECT_EQ(run("status").err, "");
  const Result traced = run("cache cluster-2 --log-level trace");
  EXPECT_THAT(traced.err, ::testing::StartsWith("dbcache: "));
  EXPECT_THAT(traced.out, ::testing::StartsWith("cached cluster-2"));
}

}  // namespace
}  // namespace dbcache::cli
