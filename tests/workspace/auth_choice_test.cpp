#include "workspace/auth_choice.hpp"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/errors.hpp>

// Which credentials go to which workspace, without any request.
namespace dbcache::workspace {
namespace {

using databricks::NotAuthenticated;
using databricks::WorkspaceOptions;
using testing::AllOf;
using testing::HasSubstr;

const char* const config_text = R"(
[DEFAULT]
host = https://default.example/?o=17
token = dapi-default

[other]  # of another workspace
host  = other.example
client_id = id-other
client_secret = "secret-other"

[cli]
host = https://cli.example
auth_type = databricks-cli
)";

struct Given {
  WorkspaceOptions options{};
  AuthValues environment{};
  std::string profile{};
  std::string config = config_text;
};

AuthChoice choose(const Given& given) {
  return choose_auth(given.options, given.environment, given.profile, [&] {
    return given.config.empty() ? DatabricksConfig{"~/.databrickscfg", false, {}, "DEFAULT"}
                                : parse_databrickscfg(given.config, "~/.databrickscfg");
  });
}

/// `kind host source-or-secret`, or the error.
std::string outcome(const Given& given) {
  try {
    const AuthChoice choice = choose(given);
    return std::string(choice.kind) + ' ' + choice.host + ' ' +
           (choice.kind == "pat" ? choice.values.token : choice.values.client_id);
  } catch (const Error& error) {
    return error.what();
  }
}

Given environment(const std::function<void(AuthValues&)>& set) {
  Given given;
  given.environment.host = "https://env.example";
  set(given.environment);
  return given;
}

void with_pat(AuthValues& values) { values.token = "dapi-env"; }
void with_m2m(AuthValues& values) {
  values.client_id = "id-env";
  values.client_secret = "secret-env";
}

TEST(AuthChoice, TheEnvironmentComesBeforeTheFile) {
  EXPECT_EQ(outcome(environment(with_pat)), "pat https://env.example dapi-env");
  EXPECT_EQ(outcome(environment(with_m2m)), "oauth-m2m https://env.example id-env");
  Given nothing;
  EXPECT_EQ(outcome(nothing), "pat https://default.example dapi-default");
  EXPECT_EQ(choose(nothing).workspace_id, "17");
}

TEST(AuthChoice, OptionsComeBeforeTheEnvironment) {
  Given given = environment(with_pat);
  given.options.token = "dapi-code";
  EXPECT_EQ(outcome(given), "pat https://env.example dapi-code");
  given.options.host = "code.example";
  EXPECT_EQ(outcome(given), "pat https://code.example dapi-code");
  given.options = {};
  given.options.profile = "DEFAULT";
  given.environment.host = "";
  EXPECT_EQ(outcome(given), "pat https://default.example dapi-default");
}

TEST(AuthChoice, ANamedProfileIsRead) {
  Given given;
  given.profile = "other";
  const AuthChoice choice = choose(given);
  EXPECT_EQ(choice.kind, "oauth-m2m");
  EXPECT_EQ(choice.host, "https://other.example");
  given.profile = "absent";
  EXPECT_THAT(outcome(given), HasSubstr("there is no profile absent in ~/.databrickscfg"));
}

TEST(AuthChoice, TwoKindsNeedAWord) {
  Given given = environment([](AuthValues& values) {
    with_pat(values);
    with_m2m(values);
  });
  EXPECT_THAT(outcome(given),
              AllOf(HasSubstr("pat and oauth-m2m"), HasSubstr("DATABRICKS_AUTH_TYPE")));
  given.environment.auth_type = "oauth-m2m";
  EXPECT_EQ(outcome(given), "oauth-m2m https://env.example id-env");
  given.environment.auth_type = "pat";
  EXPECT_EQ(outcome(given), "pat https://env.example dapi-env");
  given.environment.auth_type = "env-oidc";
  EXPECT_THAT(outcome(given), HasSubstr("does not have all of them"));
  given.environment.auth_type = "azure-cli";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("azure-cli"), HasSubstr("DATABRICKS_TOKEN")));
}

TEST(AuthChoice, GitHubsOwnVariablesAreNoSecondKind) {
  Given given = environment([](AuthValues& values) {
    values.client_id = "id-env";
    values.github_url = "https://github.example/oidc?v=1";
    values.github_token = "ghtoken";
  });
  EXPECT_EQ(outcome(given), "github-oidc https://env.example id-env");
  with_pat(given.environment);
  EXPECT_EQ(outcome(given), "pat https://env.example dapi-env");
}

TEST(AuthChoice, CredentialsGoToTheirOwnHostOnly) {
  Given given = environment(with_pat);
  given.options.host = "https://elsewhere.example";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("https://elsewhere.example"),
                                    HasSubstr("DATABRICKS_HOST (https://env.example)"),
                                    testing::Not(HasSubstr("dapi-env"))));
  given.options.host = "other.example/path?x";  // a profile has this very host
  EXPECT_EQ(outcome(given), "oauth-m2m https://other.example id-other");
  given.options.host = "HTTPS://Env.Example./login.html";
  EXPECT_EQ(outcome(given), "pat https://env.example dapi-env");
  given = environment(with_pat);
  given.environment.host = "";
  EXPECT_THAT(outcome(given), HasSubstr("DATABRICKS_HOST is not set"));
  given.profile = "";
  given.options.profile = "other";
  given.options.host = "https://env.example";
  EXPECT_THAT(outcome(given), HasSubstr("credentials go to their own workspace only"));
}

TEST(AuthChoice, SaysWhereItLooked) {
  Given given;
  given.config = "";
  EXPECT_THAT(outcome(given),
              AllOf(HasSubstr("DATABRICKS_HOST is not set"),
                    HasSubstr("there is no ~/.databrickscfg"), HasSubstr("docs/workspace.md")));
  given.environment.host = "env.example";
  EXPECT_THAT(outcome(given),
              HasSubstr("DATABRICKS_HOST is https://env.example without credentials"));
  given.config = "[x]\nhost = y.example\n";
  EXPECT_THAT(outcome(given), HasSubstr("has no profile with the host https://env.example"));
}

TEST(AuthChoice, HttpIsForThisMachineAlone) {
  Given given = environment(with_pat);
  given.environment.host = "http://env.example";
  EXPECT_THAT(outcome(given), HasSubstr("use https"));
  for (const char* const host :
       {"http://localhost:80", "http://127.0.0.1:8080", "http://[::1]:1"}) {
    given.environment.host = host;
    EXPECT_THAT(outcome(given), testing::StartsWith("pat http://"));
  }
  given.environment.host = "http://127.0.0.1.evil.example";
  EXPECT_THAT(outcome(given), HasSubstr("use https"));
  given.environment.host = "http://localhost@evil.example";
  EXPECT_THAT(outcome(given), HasSubstr("use https"));
}

TEST(AuthChoice, ATokenThatCannotBeOneIsRefusedUnseen) {
  Given given = environment([](AuthValues& values) { values.token = "dapi-one\r\nEvil: header"; });
  EXPECT_THAT(outcome(given),
              AllOf(HasSubstr("copy it again"), testing::Not(HasSubstr("dapi-one"))));
  given.environment.token = " dapi-env\n";
  EXPECT_EQ(outcome(given), "pat https://env.example dapi-env");
}

TEST(DatabricksConfigFile, IsReadAsTheOfficialToolsDo) {
  const DatabricksConfig config = parse_databrickscfg(
      "\xEF\xBB\xBFhost = a.example\r\n; comment\r\n[__settings__]\ndefault_profile = x\n[x]\n"
      "HOST: b.example ; comment\ntoken = 'quoted # text'\n\n[empty]\n",
      "file");
  EXPECT_EQ(config.default_profile, "x");
  ASSERT_NE(config.find("DEFAULT"), nullptr);
  EXPECT_EQ(config.find("DEFAULT")->value("host"), "a.example");
  EXPECT_EQ(config.find("x")->value("host"), "b.example");
  EXPECT_EQ(config.find("x")->value("absent"), "");
  ASSERT_NE(config.find("empty"), nullptr);
  EXPECT_EQ(config.find("__settings__"), nullptr);
}

TEST(DatabricksConfigFile, NamesTheLineThatIsWrongAndNotItsText) {
  for (const char* const text :
       {"[x]\nsecret-text\n", "[x\n", "[]\n", "[x]\n= secret-text\n", "[x]\n[x]\n",
        "[x]\ntoken = a\ntoken = secret-text\n", "[x]\ntoken = \x01secret-text\n"}) {
    try {
      static_cast<void>(parse_databrickscfg(text, "file"));
      ADD_FAILURE() << text;
    } catch (const NotAuthenticated& error) {
      EXPECT_THAT(error.what(),
                  AllOf(testing::StartsWith("file:"), testing::Not(HasSubstr("secret-text"))));
    }
  }
}

}  // namespace
}  // namespace dbcache::workspace
