// What users give is checked and cleaned before a command is made of it.

#include "input/input.hpp"

#include <boost/json/array.hpp>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "given.hpp"
#include "text/json_text.hpp"
#include "text/utf8.hpp"

namespace dbcache::input {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using test::given::token;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const Redactor no_secrets{""};

/// What an InvalidArgument says; empty, and a failure, where none is thrown.
template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

ClusterInput read(json::object config, const system::Environment& environment = {}) {
  return read_cluster_input("c-1", ClusterConfig(std::move(config)), environment);
}

// ---- Ids and pids

class AGoodId : public testing::TestWithParam<std::string> {};

TEST_P(AGoodId, IsTakenAsItIs) { EXPECT_EQ(require_id(GetParam(), "cluster id"), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Ids, AGoodId,
                         testing::Values("a", "0115-103000-abc123", " ", "a b/c\n\"'\\%_", "\x7F",
                                         "gr\u00f6\u00dfe-\U0001F600", std::string(255, 'x')));

struct BadId {
  const char* name;
  std::string id;
  const char* says;
};

class ABadId : public testing::TestWithParam<BadId> {};

TEST_P(ABadId, IsRefusedByItsName) {
  const std::string says = refusal([] { require_id(GetParam().id, "config hash"); });
  EXPECT_THAT(says, HasSubstr("config hash"));
  EXPECT_THAT(says, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Ids, ABadId,
    testing::Values(BadId{"Empty", "", "is empty"},
                    BadId{"OneByteTooMany", std::string(256, 'x'), "has 256 bytes"},
                    BadId{"CountedInBytesNotCharacters", std::string(254, 'x') + "\u00e9", "256"},
                    BadId{"NotUtf8", "a\xFF", "UTF-8"}, BadId{"Overlong", "\xC0\x80", "UTF-8"},
                    BadId{"CutCharacter", "a\xE2\x82", "UTF-8"},
                    BadId{"Surrogate", "\xED\xA0\x80", "UTF-8"},
                    BadId{"Nul", std::string("a\0b", 3), "NUL"},
                    BadId{"NulAlone", std::string(1, '\0'), "NUL"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(APid, IsOneOrMore) {
  EXPECT_NO_THROW(require_pid(1));
  EXPECT_THROW(require_pid(0), InvalidArgument);
  EXPECT_THROW(require_pid(-1), InvalidArgument);
}

TEST(ADefaultExpiry, LiesBetweenZeroAndAHundredYears) {
  EXPECT_NO_THROW(require_expiry(0us));
  EXPECT_NO_THROW(require_expiry(std::chrono::years{100}));
  EXPECT_THROW(require_expiry(-1us), InvalidArgument);
  EXPECT_THROW(require_expiry(std::chrono::microseconds(std::chrono::years{100}) + 1us),
               InvalidArgument);
}

// ---- Labels and messages

TEST(ALabel, IsMadeValidAndNeverRefused) {
  EXPECT_EQ(clean_label("test[\xFF]", no_secrets), "test[\uFFFD]");
}

TEST(ALabel, IsCutBetweenCharacters) {
  const std::string label = clean_label(std::string(1023, 'x') + "\u00e9", no_secrets);
  EXPECT_EQ(label, std::string(1023, 'x'));
}

TEST(ALabel, IsCleanedOfTheToken) {
  EXPECT_EQ(clean_label("run " + token, Redactor(token)), "run [redacted]");
}

TEST(AnErrorMessage, IsTakenAsItIs) {
  EXPECT_EQ(clean_error_message("no quota\n\u00e9", no_secrets), "no quota\n\u00e9");
}

TEST(AnErrorMessage, IsCleanedOfTheToken) {
  EXPECT_EQ(clean_error_message("403: " + token, Redactor(token)), "403: [redacted]");
}

TEST(AnErrorMessage, OfSixtyFourKibibytesIsKeptWhole) {
  const std::string longest(max_error_message_bytes, 'x');
  EXPECT_EQ(clean_error_message(longest, no_secrets), longest);
}

TEST(AnErrorMessage, ThatIsLongerIsCutWithANoteOfHowLongItWas) {
  const std::string clean =
      clean_error_message(std::string(max_error_message_bytes + 1, 'x'), no_secrets);
  EXPECT_THAT(clean, EndsWith(" [cut: 65537 bytes in all]"));
  EXPECT_THAT(clean, StartsWith(std::string(max_error_message_bytes, 'x') + " "));
}

TEST(AnErrorMessage, IsCleanedBeforeItIsCutSoThatNoHalfTokenStays) {
  const std::string message = std::string(max_error_message_bytes - 10, 'x') + token;
  EXPECT_THAT(clean_error_message(message, Redactor(token)), Not(HasSubstr(token.substr(0, 10))));
}

TEST(AnErrorMessage, IsCutBetweenCharacters) {
  std::string message(max_error_message_bytes - 1, 'x');
  message += "\u00e9";
  EXPECT_TRUE(text::is_utf8(clean_error_message(message, no_secrets)));
}

TEST(AnErrorMessage, WithNulOrBadUtf8IsRefused) {
  EXPECT_THROW(clean_error_message(std::string("a\0b", 3), no_secrets), InvalidArgument);
  EXPECT_THROW(clean_error_message("\xFF", no_secrets), InvalidArgument);
}

TEST(StatusDetailsGiven, AreCheckedAndCleaned) {
  const StatusDetails clean = clean_details({"c-1", "because of " + token}, Redactor(token));
  EXPECT_EQ(clean.cluster_id, "c-1");
  EXPECT_EQ(clean.error_message, "because of [redacted]");
}

TEST(StatusDetailsGiven, StayEmptyWhereNothingIsGiven) {
  const StatusDetails clean = clean_details({}, no_secrets);
  EXPECT_EQ(clean.cluster_id, std::nullopt);
  EXPECT_EQ(clean.error_message, std::nullopt);
}

TEST(StatusDetailsGiven, AreRefusedWithABadClusterId) {
  EXPECT_THROW(clean_details({"", std::nullopt}, no_secrets), InvalidArgument);
  EXPECT_THROW(clean_details({"a b", std::nullopt}, no_secrets), InvalidArgument);
}

// ---- Configurations

TEST(AConfiguration, GivesTheDocumentedKeys) {
  const ClusterInput input = read({{"cluster_name", "test_name"},
                                   {"host", "https://workspace.cloud.databricks.com"},
                                   {"num_workers", 1},
                                   {"status", "PENDING"},
                                   {"created_at", "2025-06-09T13:37:23.420000"},
                                   {"is_shared", true}});
  EXPECT_EQ(input.cluster_id, "c-1");
  EXPECT_EQ(input.cluster_name, "test_name");
  EXPECT_EQ(input.host, "https://workspace.cloud.databricks.com");
  EXPECT_EQ(input.num_workers, 1);
  EXPECT_EQ(input.status, "PENDING");
  EXPECT_EQ(input.created_at, parse_timestamp("2025-06-09T13:37:23.42"));
  EXPECT_TRUE(input.is_shared);
}

TEST(AConfiguration, ThatIsEmptyGivesTheDocumentedDefaults) {
  const ClusterInput input = read({});
  EXPECT_EQ(input.cluster_name, std::nullopt);
  EXPECT_EQ(input.host, std::nullopt);
  EXPECT_EQ(input.num_workers, std::nullopt);
  EXPECT_EQ(input.status, "RUNNING");
  EXPECT_EQ(input.created_at, std::nullopt);
  EXPECT_FALSE(input.is_shared);
}

TEST(AConfiguration, TakesNullAsNotGiven) {
  const ClusterInput input = read({{"cluster_name", nullptr},
                                   {"num_workers", nullptr},
                                   {"status", nullptr},
                                   {"created_at", nullptr},
                                   {"is_shared", nullptr}});
  EXPECT_EQ(input.num_workers, std::nullopt);
  EXPECT_EQ(input.status, "RUNNING");
}

TEST(AConfiguration, IsKeptWholeWithItsUnknownKeys) {
  const json::object given{{"node_type_id", "m5.large"}, {"custom", {{"b", 1}, {"a", nullptr}}}};
  EXPECT_EQ(text::json_text(read(given).configuration), text::json_text(given));
}

TEST(AConfiguration, IsCleanedOfSecretsBeforeItsKeysAreRead) {
  const ClusterInput input =
      read({{"cluster_name", "for " + token}, {"api_key", "x"}}, {"", token, "", ""});
  EXPECT_EQ(input.cluster_name, "for [redacted]");
  EXPECT_EQ(input.configuration.at("api_key"), "[redacted]");
}

TEST(AConfigurationWithoutHost, TakesTheOneOfTheEnvironment) {
  EXPECT_EQ(read({}, {"https://env", "", "", ""}).host, "https://env");
  EXPECT_EQ(read({{"host", nullptr}}, {"https://env", "", "", ""}).host, "https://env");
}

TEST(AConfigurationWithHost, KeepsItsOwn) {
  EXPECT_EQ(read({{"host", "https://own"}}, {"https://env", "", "", ""}).host, "https://own");
}

TEST(AConfigurationWithHost, IsStoredWithTheHostAlone) {
  const ClusterInput input =
      read({{"host", "https://user:password@ADB-1.example:443/login.html?o=12"}, {"n", 1}});
  EXPECT_EQ(input.host, "https://adb-1.example");
  EXPECT_EQ(text::json_text(input.configuration), R"({"host":"https://adb-1.example","n":1})");
}

TEST(AConfigurationWithoutHost, TakesTheHostAloneFromTheEnvironment) {
  EXPECT_EQ(read({}, {"https://env/?o=12", "", "", ""}).host, "https://env");
}

TEST(AConfigurationWithoutHost, IsStoredAsItWasGiven) {
  EXPECT_FALSE(read({}, {"https://env", "", "", ""}).configuration.contains("host"));
}

TEST(TheHostOfTheEnvironment, IsRefusedWhereItIsNotUtf8) {
  EXPECT_THAT(refusal([] { read({}, {"\xFF", "", "", ""}); }), HasSubstr("DATABRICKS_HOST"));
}

TEST(TheHostOfTheEnvironment, IsCleanedOfTheToken) {
  EXPECT_EQ(read({}, {"https://" + token + ".env", token, "", ""}).host, "https://[redacted].env");
  EXPECT_EQ(read({}, {"https://user:" + token + "@env", token, "", ""}).host, "https://env");
}

struct WrongKey {
  const char* name;
  const char* key;
  json::value value;
};

class AConfigurationWithAWrongKey : public testing::TestWithParam<WrongKey> {};

TEST_P(AConfigurationWithAWrongKey, IsRefused) {
  EXPECT_THROW(read({{GetParam().key, GetParam().value}}), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, AConfigurationWithAWrongKey,
    testing::Values(WrongKey{"NumberAsName", "cluster_name", 1},
                    WrongKey{"ListAsHost", "host", json::array{}},
                    WrongKey{"FlagAsStatus", "status", true},
                    WrongKey{"NameWithNul", "cluster_name", json::string(std::string("a\0b", 3))},
                    WrongKey{"NameNotUtf8", "cluster_name", "\xFF"},
                    WrongKey{"UnknownKeyNotUtf8", "custom", "\xFF"},
                    WrongKey{"NegativeWorkers", "num_workers", -1},
                    WrongKey{"FractionOfWorkers", "num_workers", 1.5},
                    WrongKey{"WorkersPastAnInteger", "num_workers", std::uint64_t{1} << 63},
                    WrongKey{"WorkersFarTooMany", "num_workers", 1e300},
                    WrongKey{"WorkersAsText", "num_workers", "2"},
                    WrongKey{"WorkersAsFlag", "num_workers", true},
                    WrongKey{"SharedAsACount", "is_shared", 2},
                    WrongKey{"SharedAsAFraction", "is_shared", 0.5},
                    WrongKey{"SharedAsText", "is_shared", "true"},
                    WrongKey{"MalformedTime", "created_at", "yesterday"},
                    WrongKey{"EmptyTime", "created_at", ""},
                    WrongKey{"TimeAsNumber", "created_at", 1736937000}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(AConfigurationWithAWrongKey, IsRefusedByTheKeysName) {
  EXPECT_THAT(refusal([] { read({{"num_workers", -1}}); }), HasSubstr("num_workers"));
}

TEST(AConfiguration, TakesAWholeNumberOfWorkersHoweverItIsWritten) {
  EXPECT_EQ(read({{"num_workers", 2.0}}).num_workers, 2);
  EXPECT_EQ(read({{"num_workers", std::uint64_t{2}}}).num_workers, 2);
  EXPECT_EQ(read({{"num_workers", 0}}).num_workers, 0);
}

TEST(AConfiguration, TakesAFlagAsSqliteHasIt) {
  EXPECT_TRUE(read({{"is_shared", 1}}).is_shared);
  EXPECT_FALSE(read({{"is_shared", 0}}).is_shared);
}

TEST(AConfiguration, HonoursTheOffsetOfItsCreationTime) {
  EXPECT_EQ(read({{"created_at", "2026-01-15T12:00:00+02:00"}}).created_at, test::at("10:00"));
}

TEST(AConfiguration, IsRefusedWithABadClusterId) {
  EXPECT_THROW(read_cluster_input("", ClusterConfig(), {}), InvalidArgument);
}

TEST(AConfiguration, OfOneMebibyteIsTaken) {
  const std::string name(ClusterConfig::max_bytes - std::string(R"({"x":""})").size(), 'x');
  EXPECT_EQ(text::json_text(read({{"x", name}}).configuration).size(), ClusterConfig::max_bytes);
}

TEST(AConfiguration, ThatIsLargerIsRefusedByItsSize) {
  const std::string says = refusal([] {
    read({{"x", std::string(ClusterConfig::max_bytes, 'x')}});
  });
  EXPECT_THAT(says, HasSubstr("1048584 bytes"));
}

// ---- Rows as JSON

TEST(ARowAsJson, IsReadAsItIsWritten) {
  CachedCluster row;
  row.cluster_id = "c-1";
  row.cluster_name = "test_name";
  row.num_workers = 2;
  row.status = "PENDING";
  row.created_at = test::at("10:00");
  row.expiry_time = test::at("11:00");
  row.last_accessed = test::at("10:30");
  row.access_count = 7;
  row.is_active = false;
  row.is_shared = true;
  EXPECT_EQ(read_cached_cluster(to_json(row)), row);
}

TEST(ARowAsJson, ThatIsEmptyIsANewOne) {
  EXPECT_EQ(read_cached_cluster({}), CachedCluster{});
  EXPECT_EQ(read_cached_cluster({{"status", nullptr}, {"is_active", nullptr}}), CachedCluster{});
}

TEST(ARowAsJson, TakesFlagsAsSqliteHasThem) {
  const CachedCluster row = read_cached_cluster({{"is_active", 0}, {"is_shared", 1}});
  EXPECT_FALSE(row.is_active);
  EXPECT_TRUE(row.is_shared);
}

TEST(ARowAsJson, IsRefusedByTheColumnThatIsWrong) {
  EXPECT_THAT(refusal([] {
                static_cast<void>(read_cached_cluster({{"is_active", "yes"}}));
              }),
              HasSubstr("is_active"));
}

TEST(ARowAsJson, KeepsWhatIsNoColumnWithoutItsSecrets) {
  const json::object more = read_more_than_columns(
      {{"id", 3}, {"cluster_id", "c-1"}, {"node_type_id", "m5.large"}, {"api_token", token}},
      Redactor(token));
  EXPECT_EQ(more.size(), 2u);
  EXPECT_EQ(more.at("node_type_id"), "m5.large");
  EXPECT_THAT(text::json_text(more), testing::Not(HasSubstr(token)));
}

TEST(ARowAsJson, IsRefusedWithMoreThanAConfigurationMayHold) {
  EXPECT_THROW(
      read_more_than_columns({{"x", std::string(ClusterConfig::max_bytes, 'x')}}, no_secrets),
      InvalidArgument);
}

// ---- Configurations as text

TEST(AConfigurationAsText, IsReadAsAnObject) {
  EXPECT_EQ(ClusterConfig::parse(R"({"num_workers": 1})").values().at("num_workers"), 1);
}

TEST(AConfigurationAsText, OfThirtyTwoLevelsIsTakenIntoACommand) {
  std::string config = "1";
  for (int level = 0; level < 32; ++level) config = R"({"a":)" + config + "}";
  const ClusterInput input = read_cluster_input("c-1", ClusterConfig::parse(config), {});
  EXPECT_EQ(text::json_text(input.configuration), config);
}

TEST(AConfigurationAsText, ThatNestsDeeperIsRefused) {
  std::string config = "{}";
  for (int level = 0; level < 32; ++level) config = R"({"a":)" + config + "}";
  EXPECT_THROW(static_cast<void>(ClusterConfig::parse(config)), InvalidArgument);
}

TEST(AConfigurationAsText, OfMoreThanAMebibyteIsRefusedUnread) {
  const std::string says =
      refusal([] { static_cast<void>(ClusterConfig::parse(std::string(10'000'000, '{'))); });
  EXPECT_THAT(says, HasSubstr("larger than 1048576 bytes"));
}

class AConfigurationThatIsNoObject : public testing::TestWithParam<const char*> {};

TEST_P(AConfigurationThatIsNoObject, IsRefused) {
  EXPECT_THROW(static_cast<void>(ClusterConfig::parse(GetParam())), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Texts, AConfigurationThatIsNoObject,
                         testing::Values("", "[]", "null", "1", "\"{}\"", "{", "{}{}"));

// ---- Rows given whole

TEST(ARowGivenWhole, IsTakenAsItIs) {
  CachedCluster row = test::cluster_row(3, "c-1");
  row.cluster_name = "name";
  row.host = "https://host";
  row.num_workers = 0;
  row.access_count = 0;
  EXPECT_EQ(clean_cluster(row, no_secrets), row);
}

TEST(ARowGivenWhole, IsCleanedOfTheTokenInItsTextsButNotInItsId) {
  CachedCluster row = test::cluster_row(0, token);
  row.cluster_name = row.host = row.status = token;
  const CachedCluster clean = clean_cluster(row, Redactor(token));
  EXPECT_EQ(clean.cluster_id, token);
  EXPECT_EQ(clean.cluster_name, "[redacted]");
  EXPECT_EQ(clean.host, "https://[redacted]");
  EXPECT_EQ(clean.status, "[redacted]");
}

struct WrongRow {
  const char* name;
  void (*spoil)(CachedCluster&);
};

class ARowThatCannotBe : public testing::TestWithParam<WrongRow> {};

TEST_P(ARowThatCannotBe, IsRefused) {
  CachedCluster row = test::cluster_row(0, "c-1");
  GetParam().spoil(row);
  EXPECT_THROW(clean_cluster(row, no_secrets), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, ARowThatCannotBe,
    testing::Values(
        WrongRow{"WithoutAnId", [](CachedCluster& row) { row.cluster_id = ""; }},
        WrongRow{"NameNotUtf8", [](CachedCluster& row) { row.cluster_name = "\xFF"; }},
        WrongRow{"HostWithNul", [](CachedCluster& row) { row.host = std::string(1, '\0'); }},
        WrongRow{"StatusNotUtf8", [](CachedCluster& row) { row.status = "\xFF"; }},
        WrongRow{"NameTooLong",
                 [](CachedCluster& row) {
                   row.cluster_name = std::string(max_error_message_bytes + 1, 'x');
                 }},
        WrongRow{"NegativeWorkers", [](CachedCluster& row) { row.num_workers = -1; }},
        WrongRow{"NegativeCount", [](CachedCluster& row) { row.access_count = -1; }},
        WrongRow{"CreatedTooLate", [](CachedCluster& row) { row.created_at = Timestamp::max(); }},
        WrongRow{"ExpiresTooEarly", [](CachedCluster& row) { row.expiry_time = Timestamp::min(); }},
        WrongRow{"AccessedTooLate",
                 [](CachedCluster& row) { row.last_accessed = Timestamp::max(); }}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace dbcache::input
