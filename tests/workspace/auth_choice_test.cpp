#include "workspace/auth_choice.hpp"

#include <array>
#include <functional>
#include <string>
#include <vector>

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

// ---- Every combination

const char* const kind_names[] = {"pat", "oauth-m2m", "github-oidc", "env-oidc", "file-oidc"};

TEST(AuthChoice, EveryCombinationOfKindsInTheEnvironment) {
  constexpr unsigned every = 1U << 5U;
  for (unsigned set = 0; set < every; ++set) {
    const auto has = [set](unsigned kind) { return (set >> kind & 1U) != 0; };
    Given given = environment([&](AuthValues& values) {
      if (has(0)) values.token = "dapi-env";
      if (has(1)) values.client_secret = "secret-env";
      if (has(1) || has(2)) values.client_id = "id-env";
      if (has(2)) values.github_url = values.github_token = "github-env";
      if (has(3)) values.oidc_token = "oidc-env";
      if (has(4)) values.oidc_token_file = "/file-env";
    });
    given.config = "";
    std::vector<std::string> meant;
    for (unsigned kind = 0; kind < 5; ++kind) {
      if (has(kind) && (kind != 2 || set == 1U << 2U)) meant.emplace_back(kind_names[kind]);
    }
    const std::string said = outcome(given);
    if (meant.empty()) {
      EXPECT_THAT(said, HasSubstr("without credentials")) << set;
    } else if (meant.size() == 1) {
      EXPECT_THAT(said, testing::StartsWith(meant.front() + " https://env.example")) << set;
    } else {
      EXPECT_THAT(said, HasSubstr(meant[0] + " and " + meant[1])) << set;
      EXPECT_THAT(said, HasSubstr("DATABRICKS_AUTH_TYPE")) << set;
    }
    for (unsigned kind = 0; kind < 5 && !meant.empty(); ++kind) {
      given.environment.auth_type = kind_names[kind];
      // A client id of one kind serves the other.
      const bool there = has(kind);
      const std::string kind_said = outcome(given);
      if (there) {
        EXPECT_THAT(kind_said, testing::StartsWith(kind_names[kind])) << set;
      } else {
        EXPECT_THAT(kind_said, HasSubstr("does not have all of them")) << set;
      }
    }
  }
}

/// Where credentials may be, and what is asked for.
struct Places {
  bool code, profile_in_code, environment, environment_host, named_profile;
  std::string wanted;  ///< The host of the options.
};

/// The rules of docs/workspace.md once more: whose credentials, or a part of the error.
std::string expected_by(const Places& at) {
  const std::string own = at.environment_host ? "https://env.example" : "";
  if (at.code) {
    const std::string host = at.wanted.empty() ? own : at.wanted;
    return host.empty() ? "no host" : "pat " + host + " dapi-code";
  }
  const std::string ci = "pat https://ci.example dapi-ci";
  const bool is_own = at.wanted.empty() || at.wanted == own;
  if (at.profile_in_code) {
    if (!at.wanted.empty() && at.wanted != "https://ci.example") return "own workspace only";
    return ci;
  }
  if (is_own && at.environment) {
    return own.empty() ? "DATABRICKS_HOST is not set, but DATABRICKS_TOKEN is"
                       : "pat https://env.example dapi-env";
  }
  if (is_own && at.named_profile) return own.empty() ? ci : "own workspace only";
  const std::string host = at.wanted.empty() ? own : at.wanted;
  if (host.empty()) return "pat https://default.example dapi-default";
  if (host == "https://ci.example") return ci;
  if (host == "https://default.example") return "pat https://default.example dapi-default";
  return "has no profile with the host " + host;
}

TEST(AuthChoice, EveryCombinationOfPlacesAndHosts) {
  for (unsigned set = 0; set < 1U << 5U; ++set) {
    for (const char* const wanted : {"", "https://env.example", "https://ci.example",
                                     "https://default.example", "https://none.example"}) {
      const auto has = [set](unsigned bit) { return (set >> bit & 1U) != 0; };
      const Places at{has(0), has(1), has(2), has(3), has(4), wanted};
      Given given;
      given.config =
          "[DEFAULT]\nhost = default.example\ntoken = dapi-default\n"
          "[ci]\nhost = ci.example\ntoken = dapi-ci\n";
      given.options.host = at.wanted;
      if (at.code) given.options.token = "dapi-code";
      if (at.profile_in_code) given.options.profile = "ci";
      if (at.environment) given.environment.token = "dapi-env";
      if (at.environment_host) given.environment.host = "env.example";
      if (at.named_profile) given.profile = "ci";
      const std::string said = outcome(given);
      EXPECT_THAT(said, HasSubstr(expected_by(at)))
          << testing::PrintToString(std::array{has(0), has(1), has(2), has(3), has(4)}) << wanted;
      if (at.wanted != "https://env.example" && !at.code) {
        EXPECT_FALSE(said.find("dapi-env") != std::string::npos && !at.wanted.empty()) << said;
      }
    }
  }
}

TEST(AuthChoice, OfSeveralProfilesOfAHostTheOneThatIsMeantIsUsed) {
  Given given;
  given.options.host = "h.example";
  given.config =
      "[one]\nhost = h.example\ntoken = dapi-one\n"
      "[two]\nhost = https://h.example/\ntoken = dapi-two\n"
      "[cli]\nhost = h.example\nauth_type = databricks-cli\n";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("several profiles"), HasSubstr("one and two")));
  given.profile = "two";
  EXPECT_EQ(outcome(given), "pat https://h.example dapi-two");
  with_pat(given.environment);  // they are for another host, and do not change that
  given.environment.host = "env.example";
  EXPECT_EQ(outcome(given), "pat https://h.example dapi-two");
  given.profile = "";
  given.config += "[__settings__]\ndefault_profile = one\n";
  EXPECT_EQ(outcome(given), "pat https://h.example dapi-one");
  // The same credentials, written in two ways; and one of a kind that dbcache does not do.
  given.config =
      "[cli]\nhost = h.example\nauth_type = databricks-cli\n"
      "[one]\nhost = h.example\ntoken = dapi-one\n"
      "[two]\nhost = https://h.example/\ntoken = dapi-one\ncluster_id = c-1\n";
  EXPECT_EQ(outcome(given), "pat https://h.example dapi-one");
}

TEST(AuthChoice, ANamedProfileDoesNotHideThatOfAnotherWorkspace) {
  Given given;
  given.profile = "DEFAULT";
  given.options.host = "other.example";  // of a pending termination, say
  EXPECT_EQ(outcome(given), "oauth-m2m https://other.example id-other");
}

TEST(AuthChoice, ANamedProfileIsReadBesideAnUnfinishedKind) {
  Given given;
  given.profile = "other";
  given.environment.client_id = "id-env";
  EXPECT_EQ(outcome(given), "oauth-m2m https://other.example id-other");
}

TEST(AuthChoice, ANamedProfileOfAnotherWorkspaceThanTheEnvironmentsIsRefused) {
  Given given;
  given.profile = "other";
  given.environment.host = "env.example";
  EXPECT_THAT(outcome(given),
              AllOf(HasSubstr("https://other.example"), HasSubstr("https://env.example")));
}

TEST(AuthChoice, AnAuthTypeChoosesWithinAProfile) {
  Given given;
  given.config = "[DEFAULT]\nhost = h.example\ntoken = t\nclient_id = id\nclient_secret = s\n";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("pat and oauth-m2m"), HasSubstr("auth_type")));
  given.environment.auth_type = "pat";
  EXPECT_EQ(outcome(given), "pat https://h.example t");
  given.options.auth_type = "oauth-m2m";
  EXPECT_EQ(outcome(given), "oauth-m2m https://h.example id");
  given.options.auth_type = "databricks-cli";
  EXPECT_THAT(outcome(given), HasSubstr("dbcache cannot get itself"));
}

TEST(AuthChoice, GitHubTakesAClientIdFromCodeAndFromAProfile) {
  Given given;
  given.environment.github_url = "https://github.example/oidc?v=1";
  given.environment.github_token = "ghtoken";
  given.options.host = "h.example";
  given.options.client_id = "id-code";
  EXPECT_EQ(outcome(given), "github-oidc https://h.example id-code");
  given.options = {};
  given.config = "[DEFAULT]\nhost = h.example\nclient_id = id-file\naudience = a\n";
  EXPECT_EQ(outcome(given), "github-oidc https://h.example id-file");
  EXPECT_EQ(choose(given).values.audience, "a");
}

TEST(AuthChoice, ASecretOfTheEnvironmentJoinsAClientIdOfItsOwnHostOnly) {
  Given given = environment([](AuthValues& values) { values.client_secret = "secret-env"; });
  given.options.client_id = "id-code";
  EXPECT_EQ(outcome(given), "oauth-m2m https://env.example id-code");
  given.options.host = "elsewhere.example";
  EXPECT_THAT(outcome(given), HasSubstr("without a client secret"));
}

TEST(AuthChoice, SaysWhichPartIsMissing) {
  Given given = environment([](AuthValues& values) { values.client_id = "id-env"; });
  EXPECT_THAT(outcome(given), HasSubstr("a client id without a client secret"));
  given = environment([](AuthValues& values) { values.client_secret = "secret-env"; });
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("a client secret without a client id"),
                                    testing::Not(HasSubstr("secret-env"))));
  given = environment([](AuthValues& values) { values.oidc_token_env = "CI_TOKEN"; });
  EXPECT_THAT(outcome(given), HasSubstr("a variable that is not set, CI_TOKEN"));
  given.options.profile = "cli";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("databricks-cli"), HasSubstr("DATABRICKS_TOKEN")));
  given.config = "[cli]\nhost = h.example\nazure_tenant_id = x\n";
  EXPECT_THAT(outcome(given), AllOf(HasSubstr("azure-cli"), HasSubstr("DATABRICKS_TOKEN")));
}

TEST(AuthChoice, AnAddressThatIsNoneIsRefused) {
  for (const char* const host : {"ftp://h.example", "h example", "h\r\nx", "h%2ex"}) {
    Given given = environment(with_pat);
    given.environment.host = host;
    EXPECT_THAT(outcome(given), HasSubstr("does not name the host")) << host;
  }
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
