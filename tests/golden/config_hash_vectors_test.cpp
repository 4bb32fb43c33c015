// The name of a configuration, against the vectors that every face of dbcache shares.

#include <boost/json/object.hpp>
#include <gtest/gtest.h>

#include <dbcache/cluster.hpp>
#include <dbcache/errors.hpp>

#include "golden_file.hpp"
#include "support/scoped_variable.hpp"
#include "text/hex.hpp"
#include "text/sha256.hpp"

namespace dbcache {
namespace {

namespace json = boost::json;

struct Vector {
  std::string says;
  ClusterConfig config;
  HashOptions options;
  std::optional<std::string> host_of_the_environment;
  std::string canonical;
  std::string hash;
};

void PrintTo(const Vector& vector, std::ostream* out) { *out << vector.says; }

std::vector<Vector> vectors() {
  std::vector<Vector> all;
  for (const json::value& value : test::read_vectors("config_hash_vectors.json")) {
    const json::object& object = value.as_object();
    const auto text = [&](const char* key) { return std::string(object.at(key).as_string()); };
    Vector vector{text("says"),
                  ClusterConfig(object.at("config").as_object()),
                  {},
                  {},
                  text("canonical"),
                  text("config_hash")};
    for (const json::value& key : object.at("leave_out").as_array()) {
      vector.options.leave_out.emplace_back(key.as_string());
    }
    for (const auto& [name, variable] : object.at("environment").as_object()) {
      if (name == "DATABRICKS_HOST") vector.host_of_the_environment = variable.as_string();
    }
    all.push_back(std::move(vector));
  }
  return all;
}

class AConfigHashVector : public testing::TestWithParam<Vector> {
 private:
  test::BareEnvironment bare_;
  test::ScopedVariable host_{"DATABRICKS_HOST", GetParam().host_of_the_environment};
};

TEST_P(AConfigHashVector, HasTheHashOfItsCanonicalJson) {
  EXPECT_EQ(config_hash(GetParam().config, GetParam().options),
            text::to_hex(text::Sha256().update(GetParam().canonical).digest()))
      << "of " << GetParam().canonical;
}

TEST_P(AConfigHashVector, HasTheHashThatIsWrittenThere) {
  EXPECT_EQ(config_hash(GetParam().config, GetParam().options), GetParam().hash);
}

INSTANTIATE_TEST_SUITE_P(Golden, AConfigHashVector, testing::ValuesIn(vectors()),
                         [](const auto& each) { return test::test_name(each.param.says); });

// ---- What vectors cannot say

class AConfigHash : public testing::Test {
 private:
  test::BareEnvironment bare_;
};

TEST_F(AConfigHash, DoesNotDependOnTheOrderOfKeys) {
  EXPECT_EQ(config_hash({{"a", 1}, {"b", {{"c", 2}, {"d", 3}}}}),
            config_hash({{"b", {{"d", 3}, {"c", 2}}}, {"a", 1}}));
}

TEST_F(AConfigHash, DoesNotDependOnBlanksOrEscapesOfTheText) {
  EXPECT_EQ(config_hash(ClusterConfig::parse("{\"x\":\"\u00e9/\"}")),
            config_hash(ClusterConfig::parse(R"( { "\u0078" : "\u00e9\/" } )")));
}

TEST_F(AConfigHash, TakesTheLastOfDuplicateKeys) {
  EXPECT_EQ(config_hash(ClusterConfig::parse(R"({"a":1,"a":2})")), config_hash({{"a", 2}}));
}

TEST_F(AConfigHash, DiffersWithEachKeyThatCounts) {
  EXPECT_NE(config_hash({{"num_workers", 1}}), config_hash({{"num_workers", 2}}));
  EXPECT_NE(config_hash({{"num_workers", 1}}), config_hash({{"num_workers", "1"}}));
}

TEST_F(AConfigHash, DoesNotChangeItsConfiguration) {
  const ClusterConfig config{{"token", "x"}, {"cluster_id", "y"}};
  static_cast<void>(config_hash(config));
  EXPECT_EQ(config.values().size(), 2u);
}

TEST_F(AConfigHash, DoesNotHoldTheTokenOfTheEnvironment) {
  const std::string token = "dapi0123456789abcdef";
  const test::ScopedVariable variable("DATABRICKS_TOKEN", token);
  const json::string text("curl " + token);
  EXPECT_EQ(config_hash({{"init", text}}), config_hash({{"init", "curl [redacted]"}}));
}

class AConfigurationWithoutCanonicalForm : public testing::TestWithParam<const char*> {
 private:
  test::BareEnvironment bare_;
};

TEST_P(AConfigurationWithoutCanonicalForm, IsRefused) {
  EXPECT_THROW(static_cast<void>(config_hash(ClusterConfig::parse(GetParam()))), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Numbers, AConfigurationWithoutCanonicalForm,
                         testing::Values(R"({"x":9007199254740993})", R"({"x":-9007199254740993})",
                                         R"({"x":18446744073709551615})", R"({"x":1e400})"));

TEST_F(AConfigHash, IsRefusedForInvalidUtf8) {
  EXPECT_THROW(static_cast<void>(config_hash({{"x", "\xFF"}})), InvalidArgument);
  EXPECT_THROW(static_cast<void>(config_hash({{"\xFF", 1}})), InvalidArgument);
}

json::object nested(int levels) {
  json::object object{{"a", 1}};
  for (int level = 1; level < levels; ++level) object = json::object{{"a", std::move(object)}};
  return object;
}

TEST_F(AConfigHash, IsTakenOfThirtyTwoLevels) {
  EXPECT_EQ(config_hash(ClusterConfig(nested(32))).size(), 64u);
}

TEST_F(AConfigHash, IsRefusedForThirtyThreeLevels) {
  EXPECT_THROW(static_cast<void>(config_hash(ClusterConfig(nested(33)))), InvalidArgument);
}

}  // namespace
}  // namespace dbcache
