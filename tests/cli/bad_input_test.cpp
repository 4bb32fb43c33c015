#include <gmock/gmock.h>

#include "cli_test.hpp"

// What comes in from outside and is wrong: exit code 2, one line on stderr, nothing in the log.
namespace dbcache::cli {
namespace {

struct BadInput {
  const char* name;
  std::vector<std::string> words;
  std::string input = "";
};

void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

std::string nested(int levels) {
  const auto count = static_cast<std::size_t>(levels);
  return R"({"a": )" + std::string(count, '[') + std::string(count, ']') + "}";
}

class BadInputTest : public CliTest, public ::testing::WithParamInterface<BadInput> {};

TEST_P(BadInputTest, BadInputIsRefusedAndLeavesNoEvent) {
  must("register team-tests");
  const std::int64_t before = events_in_log();
  const Result result = run_words(GetParam().words, GetParam().input);
  EXPECT_EQ(result.code, 2) << result.out << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, ::testing::MatchesRegex("dbcache: [^\n]+\n"));
  EXPECT_EQ(events_in_log(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadInputTest,
    ::testing::Values(
        BadInput{"EmptyId", {"cache", ""}}, BadInput{"LongId", {"cache", std::string(300, 'x')}},
        BadInput{"IdThatIsNotUtf8", {"cache", "cluster-\xff"}},
        BadInput{"IdWithABlank", {"cache", "cluster 1"}},
        BadInput{"IdThatIsJson", {"cache", R"({"cluster_id":"c"})"}},
        BadInput{"MarkedWithAQuotedId",
                 {"mark", "team-tests", "ready", "--cluster-id", "\"cluster-1\""}},
        BadInput{"EmptyHash", {"register", ""}},
        BadInput{"LongHash", {"use", std::string(300, 'x')}},
        BadInput{"HashThatIsNotUtf8", {"can-join", "\xc0\xaf"}},
        BadInput{"EmptySubject", {"history", ""}},
        BadInput{"NegativeWorkers", {"cache", "c", "--config", "-"}, R"({"num_workers": -1})"},
        BadInput{"WorkersInWords", {"cache", "c", "--config", "-"}, R"({"num_workers": "two"})"},
        BadInput{"CreatedAtIsNoTime", {"cache", "c", "--config", "-"}, R"({"created_at": "noon"})"},
        BadInput{"MalformedJson", {"cache", "c", "--config", "-"}, R"({"num_workers": )"},
        BadInput{"NoObject", {"cache", "c", "--config", "-"}, "[1, 2]"},
        BadInput{"EmptyConfiguration", {"cache", "c", "--config", "-"}, ""},
        BadInput{"NestedTooDeep", {"cache", "c", "--config", "-"}, nested(1000)},
        BadInput{"ConfigurationOf10Megabytes",
                 {"cache", "c", "--config", "-"},
                 R"({"a": ")" + std::string(10'000'000, 'x') + "\"}"},
        BadInput{"ConfigurationNotUtf8", {"cache", "c", "--config", "-"}, "{\"a\": \"\xff\"}"},
        BadInput{"ConfigurationInUtf16",
                 {"cache", "c", "--config", "-"},
                 std::string("\xff\xfe{\0}\0", 6)},
        BadInput{"ConfigurationOfZeros", {"hash"}, std::string(2'000'000, '\0')},
        BadInput{"NoSuchConfiguration", {"cache", "c", "--config", "nowhere.json"}},
        BadInput{"ConfigurationIsADirectory", {"cache", "c", "--config", "."}},
        BadInput{"NegativeExpiry", {"cache", "c", "--expiry-hours", "-1"}},
        BadInput{"ExpiryIsNoNumber", {"cache", "c", "--expiry-hours", "nan"}},
        BadInput{"ExpiryWithoutEnd", {"cache", "c", "--expiry-hours", "inf"}},
        BadInput{"ExpiryPastAllTimes", {"cache", "c", "--expiry-hours", "1e8"}},
        BadInput{"UnknownStatus", {"mark", "team-tests", "done"}},
        BadInput{"ReadyWithoutACluster", {"mark", "team-tests", "ready"}},
        BadInput{"ReadyWithAnEmptyCluster", {"mark", "team-tests", "ready", "--cluster-id", ""}},
        BadInput{"ErrorTextNotUtf8", {"mark", "team-tests", "failed", "--error", "\xff"}},
        BadInput{"PidZero", {"register", "other", "--pid", "0"}},
        BadInput{"NegativePid", {"register", "other", "--pid", "-4"}},
        BadInput{"SinceIsNoTime", {"history", "--since", "yesterday"}},
        BadInput{"UntilDoesNotExist", {"history", "--until", "2024-02-30"}},
        BadInput{"LimitZero", {"history", "--limit", "0"}},
        BadInput{"UnknownType", {"history", "--type", "ClusterPainted"}},
        BadInput{"HeadWithoutAHash", {"verify", "--head", "12"}},
        BadInput{"HeadWithoutANumber", {"verify", "--head", ":" + std::string(64, 'a')}},
        BadInput{"HeadCutShort", {"verify", "--head", "12:abc"}},
        BadInput{"UnknownZone", {"cache", "c", "--adopt-timezone", "Mars/Olympus"}}),
    [](const auto& bad) { return std::string(bad.param.name); });

}  // namespace
}  // namespace dbcache::cli
