// Which values are secrets, and that they are taken out before anything is decided.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "given.hpp"
#include "input/redact.hpp"
#include "support/child_process.hpp"
#include "support/scoped_variable.hpp"
#include "text/json_text.hpp"

namespace dbcache::input {
namespace {

namespace json = boost::json;
using test::given::token;

const std::string mark{redaction_mark};

std::string redacted(const json::object& given, const std::string& databricks_token = "") {
  return text::json_text(Redactor(databricks_token).json(given));
}

// ---- Keys

class AKeyOfASecret : public testing::TestWithParam<const char*> {};

TEST_P(AKeyOfASecret, IsKnown) { EXPECT_TRUE(names_a_secret(GetParam())); }

INSTANTIATE_TEST_SUITE_P(
    Keys, AKeyOfASecret,
    testing::Values("token", "secret", "password", "credential", "TOKEN", "Token",
                    "DATABRICKS_TOKEN", "databricks.token", "auth-token", "accessToken",
                    "tokenValue", "token_1", "1-token", "AWS_SECRET_ACCESS_KEY", "clientSecret",
                    "CLIENT_SECRET", "dbPassword", "DB_PASSWORD", "user credential", "x/token/y",
                    "access_key", "accessKey", "access-key", "access.key", "ACCESS_KEY",
                    "AccessKey", "accessKeyId", "AWS_ACCESS_KEY_ID", "account_key", "accountKey",
                    "fs.azure.account.key.x", "fs.azure.account.key.store.dfs.core.windows.net",
                    "api_key", "apiKey", "APIKey", "APIKEYToken", "X-API-KEY", "privateKey",
                    "PRIVATE_KEY", "ssh private key", "access__key", "S3AccessKey", "spark.token",
                    "\u00e9token", "token\u00e9"));

class AnInnocentKey : public testing::TestWithParam<const char*> {};

TEST_P(AnInnocentKey, IsLeftAlone) { EXPECT_FALSE(names_a_secret(GetParam())); }

INSTANTIATE_TEST_SUITE_P(
    Keys, AnInnocentKey,
    testing::Values("", "_", "key", "KEY", "monkey", "keyboard", "turkey", "public_key",
                    "primaryKey", "key_access", "accesskey", "apikey", "keyApi", "access",
                    "account", "api", "private", "access_the_key", "tokenizer", "tokenize",
                    "num_tokens", "maxTokens", "betoken", "secretary", "secretariat", "passwords",
                    "passwordless", "credentials_mode", "credentialed", "cluster_name",
                    "node_type_id", "spark_version", "num_workers", "autotermination_minutes",
                    "spark_env_vars", "spark_conf", "T_oken", "tOken", "\u0442oken"));

// ---- Values

TEST(Redacting, PutsTheMarkInPlaceOfASecret) {
  EXPECT_EQ(redacted({{"api_key", "abc"}, {"cluster_name", "abc"}}),
            R"({"api_key":"[redacted]","cluster_name":"abc"})");
}

TEST(Redacting, GoesIntoSparkEnvVarsAndSparkConf) {
  EXPECT_EQ(redacted({{"spark_env_vars", {{"DATABRICKS_TOKEN", "x"}, {"PYSPARK_PYTHON", "y"}}},
                      {"spark_conf", {{"fs.azure.account.key.x", "z"}}}}),
            R"({"spark_env_vars":{"DATABRICKS_TOKEN":"[redacted]","PYSPARK_PYTHON":"y"},)"
            R"("spark_conf":{"fs.azure.account.key.x":"[redacted]"}})");
}

TEST(Redacting, GoesIntoArrays) {
  EXPECT_EQ(redacted({{"scripts", json::array{json::object{{"password", "x"}}, "y"}}}),
            R"({"scripts":[{"password":"[redacted]"},"y"]})");
}

TEST(Redacting, TakesAValueOfAnyKindUnderTheKeyOfASecret) {
  EXPECT_EQ(redacted({{"token", 1},
                      {"secret", true},
                      {"password", {{"a", 1}}},
                      {"credential", json::array{1, 2}}}),
            R"({"token":"[redacted]","secret":"[redacted]","password":"[redacted]",)"
            R"("credential":"[redacted]"})");
}

TEST(Redacting, LeavesNullSinceItIsNoSecret) {
  EXPECT_EQ(redacted({{"token", nullptr}}), R"({"token":null})");
}

TEST(Redacting, KeepsNumbersFlagsAndTheOrderOfKeys) {
  const json::object given{{"b", 1.5}, {"a", true}, {"c", nullptr}, {"d", json::array{1, "x"}}};
  EXPECT_EQ(redacted(given, token), text::json_text(given));
}

// ---- The token itself

TEST(TheTokensValue, IsTakenOutOfAText) {
  EXPECT_EQ(Redactor(token).text("403 for " + token + ", and again " + token + token),
            "403 for " + mark + ", and again " + mark + mark);
}

TEST(TheTokensValue, IsTakenOutOfAnyString) {
  EXPECT_EQ(redacted({{"init", json::array{"curl -H " + token}}}, token),
            R"({"init":["curl -H [redacted]"]})");
}

TEST(TheTokensValue, IsTakenOutOfKeysToo) {
  EXPECT_EQ(redacted({{"a" + token, 1}}, token), R"({"a[redacted]":1})");
}

TEST(TheTokensValue, IsTakenOutAtSixteenCharacters) {
  const std::string shortest(16, 'x');
  EXPECT_EQ(Redactor(shortest).text("a" + shortest), "a" + mark);
}

TEST(TheTokensValue, IsLeftAloneAtFifteenCharactersSinceInnocentTextMayHoldIt) {
  const std::string too_short(15, 'x');
  EXPECT_EQ(Redactor(too_short).text("a" + too_short), "a" + too_short);
}

TEST(TheTokensValue, IsNothingWhereNoneIsSet) { EXPECT_EQ(Redactor("").text("abc"), "abc"); }

TEST(TheTokensValue, IsNotLookedForInAnyOtherCase) {
  EXPECT_EQ(Redactor(token).text("DAPI0123456789ABCDEF"), "DAPI0123456789ABCDEF");
}

// ---- Other secrets

TEST(OtherSecrets, OfTheEnvironmentAreTakenOut) {
  for (const char* const name :
       {"DATABRICKS_CLIENT_SECRET", "DATABRICKS_OIDC_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}) {
    const test::ScopedVariable secret(name, "dose0123456789abcdef\n");
    EXPECT_EQ(Redactor("").text("no dose0123456789abcdef."), "no [redacted].") << name;
  }
  EXPECT_EQ(Redactor("").text("dose0123456789abcdef"), "dose0123456789abcdef");
}

TEST(OtherSecrets, ThatAreKeptAreTakenOutByEachRedactor) {
  const Redactor before("");
  keep_secret("kept-0123456789abcdef");
  EXPECT_EQ(before.text("a kept-0123456789abcdef b"), "a [redacted] b");
  EXPECT_EQ(redacted({{"a", json::array{"kept-0123456789abcdef"}}}), R"({"a":["[redacted]"]})");
}

TEST(OtherSecrets, AreLeftAloneIfTheyAreTooShort) {
  keep_secret("fifteen-bytes-x");
  keep_secret("");
  EXPECT_EQ(Redactor("").text("fifteen-bytes-x"), "fifteen-bytes-x");
}

TEST(OtherSecrets, ThatAreAPartOfAnotherDoNotTearIt) {
  keep_secret("part-0123456789abcdef");
  keep_secret("part-0123456789abcdef-and-more");
  EXPECT_EQ(Redactor("").text("part-0123456789abcdef-and-more"), mark);
  EXPECT_EQ(
      Redactor("part-0123456789abcdef-and-more-still").text("part-0123456789abcdef-and-more-still"),
      mark);
}

TEST(OtherSecrets, AreForgottenOnlyBehindManyOthers) {
  const auto nth = [](int number) { return "numbered-secret-" + std::to_string(1000 + number); };
  for (int number = 0; number < 1000; ++number) {
    keep_secret(nth(number));
    keep_secret(nth(0));  // one that is still used
  }
  EXPECT_EQ(Redactor("").text(nth(999) + nth(900)), mark + mark);
  EXPECT_EQ(Redactor("").text(nth(0)), mark);
  EXPECT_EQ(Redactor("").text(nth(1)), nth(1));
}

TEST(OtherSecrets, AreKeptByManyThreadsAndChildren) {
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      constexpr int few = 50;  // so that none is forgotten for those of the others
      for (int round = 0; !stop; ++round) {
        const std::string secret = fmt::format("of-thread-{}-round-{:06}", thread, round % few);
        keep_secret(secret);
        if (Redactor("").text(secret) != mark) ADD_FAILURE() << secret;
      }
    });
  }
  for (int count = 0; count < 20; ++count) {
    const std::string said = test::in_child([] {
      keep_secret("of-a-child-0123456789");
      return Redactor("").text("of-a-child-0123456789");
    });
    EXPECT_EQ(said, mark);
  }
  stop = true;
}

// ---- Depth

json::value nested_objects(int levels, json::value innermost) {
  json::value value = std::move(innermost);
  for (int level = 0; level < levels; ++level) {
    json::object outer;
    outer["a"] = std::move(value);
    value = std::move(outer);
  }
  return value;
}

TEST(Redacting, TakesThirtyTwoLevelsWithAValueInTheInnermost) {
  const json::value given = nested_objects(32, 1);
  EXPECT_EQ(Redactor("").json(given), given);
}

TEST(Redacting, RefusesThirtyThreeLevels) {
  EXPECT_THROW(static_cast<void>(Redactor("").json(nested_objects(33, 1))), InvalidArgument);
}

}  // namespace
}  // namespace dbcache::input
