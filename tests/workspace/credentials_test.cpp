#include <atomic>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <thread>
#include <unistd.h>
#include <utility>

#include <sys/wait.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "support/scoped_variable.hpp"
#include "workspace/oauth.hpp"
#include "workspace_test.hpp"

// Credentials of each kind against the fake workspace; what the connection accepts; and that no
// secret is found anywhere afterwards.
namespace dbcache::workspace {
namespace {

using namespace databricks;
using namespace std::chrono_literals;
using boost::json::object;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CredentialsTest : public test::WorkspaceTest {
 protected:
  /// Variables for the rest of the test.
  void variable(const char* name, const std::string& value) {
    variables_.push_back(std::make_unique<ScopedVariable>(name, value));
  }
  void as_principal() {
    variable("DATABRICKS_HOST", fake().host());
    variable("DATABRICKS_CLIENT_ID", fake().about("client_id"));
    variable("DATABRICKS_CLIENT_SECRET", fake().about("client_secret"));
  }
  static int issued() {
    const boost::json::value journal = fake().ask("GET", "/journal");
    int count = 0;
    for (const auto& line : journal.as_array()) {
      if (line.at("what") == "reset") count = 0;
      if (line.at("what") == "issued") ++count;
    }
    return count;
  }
  template <class Expected>
  static std::string failure(const WorkspaceOptions& options = {}) {
    CallBounds bounds;
    bounds.patience = 200ms;
    try {
      return "no failure: " + Workspace(options).user(bounds).name;
    } catch (const Expected& error) {
      return error.what();
    } catch (const std::exception& error) {
      return std::string("another failure: ") + error.what();
    }
  }

 private:
  std::vector<std::unique_ptr<ScopedVariable>> variables_;
};

TEST_F(CredentialsTest, ATokenOfTheEnvironment) {
  variable("DATABRICKS_HOST", fake().host() + "/?o=42#setting");
  variable("DATABRICKS_TOKEN", fake().token());
  const Workspace workspace;
  EXPECT_EQ(workspace.user().name, "tester@example.com");
  EXPECT_TRUE(workspace.user().may_create_clusters);
  EXPECT_EQ(workspace.credentials(), "pat");
  EXPECT_EQ(workspace.credentials_source(), "DATABRICKS_TOKEN");
}

TEST_F(CredentialsTest, AHostThatServesSeveralWorkspacesIsToldWhichOne) {
  const auto told = [](const std::string& host) {
    tell("/reset", object{});
    WorkspaceOptions options = fakes_own();
    options.host = host;
    static_cast<void>(Workspace(options).user());
    const boost::json::value journal = fake().ask("GET", "/journal");
    const object& headers = journal.as_array().back().at("headers").as_object();
    const boost::json::value* const id = headers.if_contains("x-databricks-workspace-id");
    return id == nullptr ? "" : text(*id);
  };
  EXPECT_EQ(told(fake().host() + "/?o=42#setting"), "42");
  EXPECT_EQ(told(fake().host() + "/browse?x=y&o=43"), "43");
  EXPECT_EQ(told(fake().host()), "");
}

TEST_F(CredentialsTest, AServicePrincipalBySecret) {
  as_principal();
  const Workspace workspace;
  EXPECT_EQ(workspace.user().name, "tester@example.com");
  EXPECT_EQ(workspace.clusters().size(), 0U);
  EXPECT_EQ(issued(), 1);  // for both
}

TEST_F(CredentialsTest, EachKindOfOidc) {
  variable("DATABRICKS_HOST", fake().host());
  variable("DATABRICKS_CLIENT_ID", fake().about("client_id"));
  {
    const ScopedVariable url("ACTIONS_ID_TOKEN_REQUEST_URL", fake().about("github_oidc_url"));
    const ScopedVariable token("ACTIONS_ID_TOKEN_REQUEST_TOKEN", fake().about("github_oidc_token"));
    EXPECT_EQ(Workspace().credentials(), "github-oidc");
    EXPECT_EQ(Workspace().user().name, "tester@example.com");
  }
  {
    const ScopedVariable token("DATABRICKS_OIDC_TOKEN", fake().about("oidc_token"));
    EXPECT_EQ(Workspace().credentials(), "env-oidc");
    EXPECT_EQ(Workspace().user().name, "tester@example.com");
  }
  const std::string file = home() + "/token";
  std::ofstream(file) << fake().about("oidc_token") << '\n';
  const ScopedVariable path("DATABRICKS_OIDC_TOKEN_FILEPATH", file);
  EXPECT_EQ(Workspace().credentials(), "file-oidc");
  EXPECT_EQ(Workspace().user().name, "tester@example.com");
  std::filesystem::remove(file);
  EXPECT_THAT(failure<NotAuthenticated>(), HasSubstr("has no token"));
}

TEST_F(CredentialsTest, AProfile) {
  std::ofstream(home() + "/.databrickscfg")
      << "[ci]\nhost = " << fake().host() << "\ntoken = " << fake().token() << '\n';
  variable("DATABRICKS_CONFIG_PROFILE", "ci");
  EXPECT_EQ(Workspace().user().name, "tester@example.com");
  EXPECT_THAT(Workspace().credentials_source(), HasSubstr("the profile ci of "));
}

TEST_F(CredentialsTest, ATokenThatEndsIsRenewedBeforeAndAfter) {
  as_principal();
  const Workspace workspace;
  static_cast<void>(workspace.user());
  tell("/tokens/expire", object{});  // as one that a server has forgotten
  EXPECT_EQ(workspace.user().name, "tester@example.com");
  EXPECT_EQ(issued(), 2);
  set("token_lifetime_seconds", 30);  // too little to be used a second time
  tell("/tokens/expire", object{});
  static_cast<void>(workspace.user());
  static_cast<void>(workspace.user());
  EXPECT_EQ(issued(), 4);
}

TEST_F(CredentialsTest, ATokenThatEndsInTheMidstOfAWaitIsRenewed) {
  const std::string file = home() + "/token";
  std::ofstream(file) << fake().about("oidc_token");
  using Values = std::map<std::string, std::string>;
  const std::map<std::string, Values> kinds{
      {"oauth-m2m", {{"DATABRICKS_CLIENT_SECRET", fake().about("client_secret")}}},
      {"github-oidc",
       {{"ACTIONS_ID_TOKEN_REQUEST_URL", fake().about("github_oidc_url")},
        {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", fake().about("github_oidc_token")}}},
      {"env-oidc", {{"DATABRICKS_OIDC_TOKEN", fake().about("oidc_token")}}},
      {"file-oidc", {{"DATABRICKS_OIDC_TOKEN_FILEPATH", file}}}};
  variable("DATABRICKS_HOST", fake().host());
  variable("DATABRICKS_CLIENT_ID", fake().about("client_id"));
  constexpr int hour = 3600;
  SharedClusters shared(database());
  for (const auto& [kind, values] : kinds) {
    tell("/reset", object{});
    set("start_seconds", hour);
    std::vector<std::unique_ptr<ScopedVariable>> own;
    for (const auto& [name, value] : values) {
      own.push_back(std::make_unique<ScopedVariable>(name, value));
    }
    const Lifecycle lifecycle = hasty({60, false}, {});
    EXPECT_EQ(lifecycle.clusters().api().credentials().kind(), kind);
    bool expired = false;
    AcquireOptions acquiring;
    acquiring.policy = HandBackPolicy::hand_back;
    acquiring.on_wait = [&](const WaitProgress& progress) {
      if (!progress.doing.starts_with("Finding instances") || std::exchange(expired, true)) return;
      tell("/tokens/expire", object{});
      tell("/clock", object{{"advance_seconds", hour}});
    };
    EXPECT_TRUE(shared.acquire(config(), lifecycle_of(lifecycle), acquiring).release().settled);
    EXPECT_TRUE(expired) << kind;
    EXPECT_EQ(issued(), 2) << kind;
    EXPECT_EQ(clusters().size(), 1U) << kind;
  }
}

TEST_F(CredentialsTest, WrongOnesSaySoAndStayUnseen) {
  variable("DATABRICKS_HOST", fake().host());
  {
    const ScopedVariable token("DATABRICKS_TOKEN", "dapi-not-the-right-one");
    EXPECT_THAT(failure<NotAuthenticated>(),
                AllOf(HasSubstr("does not accept the credentials (DATABRICKS_TOKEN)"),
                      Not(HasSubstr("dapi-not"))));
  }
  variable("DATABRICKS_CLIENT_ID", fake().about("client_id"));
  variable("DATABRICKS_CLIENT_SECRET", "not-the-right-secret");
  EXPECT_THAT(failure<NotAuthenticated>(),
              AllOf(HasSubstr("gives no token"), Not(HasSubstr("not-the-right"))));
}

TEST_F(CredentialsTest, ATokenEndpointElsewhereIsNotUsed) {
  as_principal();
  fault({{"path", "/oauth-authorization-server"},
         {"status", 200},
         {"body", object{{"token_endpoint", "https://evil.example/oidc/v1/token"}}}});
  EXPECT_EQ(Workspace().user().name, "tester@example.com");
}

TEST_F(CredentialsTest, ATokenEndpointIsAskedAtItsOwnHostHoweverItIsWritten) {
  as_principal();
  const std::string name = fake().host();
  for (const std::string& endpoint :
       {name + "\\@127.0.0.2/oidc/v1/token", name + "/../oidc/v1/token", name + "//127.0.0.2/x",
        "https://user@" + name.substr(8) + "/oidc/v1/token", name + "/oidc/v1/token#x", name}) {
    fault({{"path", "/oauth-authorization-server"},
           {"status", 200},
           {"body", object{{"token_endpoint", endpoint}}}});
    EXPECT_EQ(failure<NotAuthenticated>(), "no failure: tester@example.com") << endpoint;
  }
}

// ---- What a token endpoint may answer

TEST_F(CredentialsTest, AnAnswerThatIsNoTokenIsRefused) {
  as_principal();
  const std::string path = "/oidc/v1/token";
  fault({{"path", path}, {"status", 200}, {"body", "<html>log in</html>"}});
  EXPECT_THAT(failure<WorkspaceUnavailable>(), HasSubstr("something else than JSON"));
  for (const char* const token : {"", "a b", "a\r\nEvil: b", "\xC3\xA9"}) {
    fault({{"path", path}, {"status", 200}, {"body", object{{"access_token", token}}}});
    EXPECT_THAT(failure<NotAuthenticated>(), HasSubstr("without a token that can be used"));
  }
  fault({{"path", path}, {"status", 200}, {"body", object{{"access_token", 1}}}});
  EXPECT_THAT(failure<NotAuthenticated>(), HasSubstr("without a token that can be used"));
}

TEST_F(CredentialsTest, ALifeThatMakesNoSenseDoesNoHarm) {
  as_principal();
  for (const boost::json::value& life : std::initializer_list<boost::json::value>{
           1e300, -5, -1e300, 0, 18446744073709551615U, "3600", "soon", nullptr, object{}}) {
    fault({{"path", "/oidc/v1/token"},
           {"status", 200},
           {"body", object{{"access_token", fake().token()}, {"expires_in", life}}}});
    EXPECT_EQ(failure<NotAuthenticated>(), "no failure: tester@example.com") << life;
  }
}

TEST_F(CredentialsTest, AnErrorThatRepeatsTheSecretIsCleaned) {
  as_principal();
  const std::string secret = fake().about("client_secret");
  fault({{"path", "/oidc/v1/token"},
         {"status", 401},
         {"body", object{{"error", "invalid_client"},
                         {"error_description", "no " + secret + std::string(2000, '.')}}}});
  const std::string said = failure<NotAuthenticated>();
  EXPECT_THAT(said, AllOf(HasSubstr("invalid_client: no [redacted]"), HasSubstr("HTTP 401"),
                          HasSubstr("DATABRICKS_CLIENT_SECRET"), Not(HasSubstr(secret))));
  EXPECT_LT(said.size(), 1000U);
  const std::string token = fake().token();
  fault({{"path", "/Me"}, {"status", 403}, {"body", "<pre>no\n" + token + "</pre>"}});
  EXPECT_THAT(failure<PermissionDenied>(fakes_own()), HasSubstr("no [redacted] (HTTP 403)"));
  fault({{"path", "/oidc/v1/token"}, {"status", 503}, {"times", -1}, {"body", "no " + secret}});
  EXPECT_THAT(failure<WorkspaceUnavailable>(),
              AllOf(HasSubstr("no [redacted] (HTTP 503)"), Not(HasSubstr(secret))));
}

TEST_F(CredentialsTest, ARedirectOfATokenRequestIsNotFollowed) {
  as_principal();
  for (const char* const path : {"/oauth-authorization-server", "/oidc/v1/token"}) {
    fault({{"path", path},
           {"status", 302},
           {"headers", object{{"Location", fake().host() + "/elsewhere"}}}});
    try {
      static_cast<void>(Workspace().user());
      ADD_FAILURE() << path;
    } catch (const WorkspaceUnavailable& error) {
      EXPECT_FALSE(error.may_succeed_again());
      EXPECT_THAT(error.what(), HasSubstr("/elsewhere"));
    }
  }
  EXPECT_EQ(requests("/elsewhere"), 0);
}

TEST_F(CredentialsTest, ABusyTokenEndpointIsAskedAgain) {
  as_principal();
  fault({{"path", "/oidc/v1/token"}, {"status", 503}});
  fault({{"path", "/oauth-authorization-server"}, {"status", 429}});
  EXPECT_EQ(Workspace().user().name, "tester@example.com");
}

TEST_F(CredentialsTest, GitHubsRefusalNamesTheRightThatTheJobNeeds) {
  variable("DATABRICKS_HOST", fake().host());
  variable("DATABRICKS_CLIENT_ID", fake().about("client_id"));
  variable("ACTIONS_ID_TOKEN_REQUEST_URL", fake().about("github_oidc_url"));
  variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a-token-of-another-job");
  EXPECT_THAT(failure<NotAuthenticated>(),
              AllOf(HasSubstr("id-token: write"), Not(HasSubstr("a-token-of"))));
  variable("ACTIONS_ID_TOKEN_REQUEST_URL", "http://github.example/oidc");
  EXPECT_THAT(failure<WorkspaceUnavailable>(), HasSubstr("http"));
}

// ---- The life of a token

/// A service principal's, whose token is due to be renewed as soon as it is there.
std::unique_ptr<OAuthCredentials> always_due(const test::FakeWorkspace& fake) {
  AuthValues values;
  values.client_id = fake.about("client_id");
  values.client_secret = fake.about("client_secret");
  const OAuthCredentials::Rests due{0s, 24h, 1};
  return std::unique_ptr<OAuthCredentials>(
      new OAuthCredentials({fake.host(), "", "oauth-m2m", "a test"}, std::move(values), due));
}

TEST_F(CredentialsTest, AnOldTokenServesWhileNoNewOneIsToBeHad) {
  const auto credentials = always_due(fake());
  Http http;
  const std::string first = credentials->authorization(http, {});
  const std::string second = credentials->authorization(http, {});
  EXPECT_NE(first, second);  // renewed, since it was due
  fault({{"path", "/oidc/v1/token"}, {"status", 503}, {"times", -1}});
  EXPECT_EQ(credentials->authorization(http, {}), second);
  const int asked = requests("/oidc/v1/token");
  EXPECT_EQ(credentials->authorization(http, {}), second);
  EXPECT_EQ(requests("/oidc/v1/token"), asked);  // and not at each request
}

TEST_F(CredentialsTest, OnlyTheTokenThatWasRefusedIsDropped) {
  as_principal();
  const auto credentials = Credentials::find({});
  Http http;
  const std::string first = credentials->authorization(http, {});
  EXPECT_TRUE(credentials->renew(first));
  const std::string second = credentials->authorization(http, {});
  EXPECT_NE(first, second);
  EXPECT_TRUE(credentials->renew(first));  // by a thread that was slow
  EXPECT_EQ(credentials->authorization(http, {}), second);
  EXPECT_EQ(issued(), 2);
}

TEST_F(CredentialsTest, ThreadsAndChildrenShareATokenWhileItIsRenewed) {
  as_principal();
  const Workspace workspace;
  static_cast<void>(workspace.user());
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        right += workspace.user().name == "tester@example.com" ? 1 : 0;
      }
    });
  }
  tell("/tokens/expire", object{});
  threads.clear();
  EXPECT_EQ(right, 80);
  // Not amid the requests of threads: OpenSSL's locks would stay locked in the children.
  tell("/tokens/expire", object{});
  for (int count = 0; count < 5; ++count) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(workspace.user().name == "tester@example.com" ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

// ---- Hosts

TEST_F(CredentialsTest, AConfigurationOfAnotherWorkspaceGetsNoneOfTheCallersCredentials) {
  ClusterConfig elsewhere({{"host", "https://elsewhere.example"}});
  EXPECT_THROW(static_cast<void>(Workspace::of(elsewhere, fakes_own())), NotAuthenticated);
  variable("DATABRICKS_HOST", fake().host());
  WorkspaceOptions given;
  given.token = fake().token();
  EXPECT_THROW(static_cast<void>(Workspace::of(elsewhere, given)), NotAuthenticated);
  variable("DATABRICKS_TOKEN", fake().token());
  EXPECT_THROW(static_cast<void>(Workspace::of(elsewhere)), NotAuthenticated);
  // A profile of that very host is used.
  std::ofstream(home() + "/.databrickscfg") << "[x]\nhost = elsewhere.example\ntoken = dapi-x\n";
  EXPECT_THAT(Workspace::of(elsewhere, given).credentials_source(), HasSubstr("the profile x"));
  const ClusterConfig own({{"host", fake().host() + "/?o=1"}});
  EXPECT_EQ(Workspace::of(own, given).user().name, "tester@example.com");
}

TEST(Loopback, IsByTheHostAndNotByAUsersName) {
  for (const char* const url : {"http://localhost", "http://127.0.0.1:1/x", "http://[::1]:1"}) {
    EXPECT_TRUE(is_loopback(url)) << url;
  }
  for (const char* const url :
       {"http://localhost:1@evil.example/", "http://127.0.0.1@evil.example", "http://[::1]@evil.x",
        "http://localhost\\@evil.example/", "http://127.0.0.1.evil.example"}) {
    EXPECT_FALSE(is_loopback(url)) << url;
  }
}

TEST_F(CredentialsTest, OnlyTheRightCertificateIsAccepted) {
  for (const char* const which : {"wrong-name", "expired", "self-signed"}) {
    tell("/certificate", object{{"which", which}});
    try {
      static_cast<void>(Workspace(fakes_own()).user());
      ADD_FAILURE() << which;
    } catch (const WorkspaceUnavailable& error) {
      EXPECT_FALSE(error.may_succeed_again()) << which;
      EXPECT_THAT(error.what(), HasSubstr("SSL_CERT_FILE")) << which;
    }
  }
  tell("/certificate", object{{"which", "good"}});
  const ScopedVariable system("SSL_CERT_FILE", std::nullopt);
  const ScopedVariable folder("SSL_CERT_DIR", std::nullopt);
  EXPECT_THAT(failure<WorkspaceUnavailable>(fakes_own()), HasSubstr("certificate"));
}

TEST_F(CredentialsTest, AProxyIsUsedUnlessNoProxySaysNo) {
  const auto passes = [] {
    const boost::json::value journal = fake().ask("GET", "/journal");
    int count = 0;
    for (const auto& line : journal.as_array()) {
      if (line.at("what") == "reset") count = 0;
      if (line.at("what") == "proxy") ++count;
    }
    return count;
  };
  variable("https_proxy", fake().about("proxy"));
  EXPECT_EQ(Workspace(fakes_own()).user().name, "tester@example.com");
  EXPECT_EQ(passes(), 1);
  variable("no_proxy", "127.0.0.1");
  EXPECT_EQ(Workspace(fakes_own()).user().name, "tester@example.com");
  EXPECT_EQ(passes(), 1);
}

TEST_F(CredentialsTest, AForkedChildAsksOnConnectionsOfItsOwn) {
  const Workspace workspace(fakes_own());
  EXPECT_EQ(workspace.user().name, "tester@example.com");
  for (int count = 0; count < 3; ++count) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(workspace.user().name == "tester@example.com" ? 0 : 1);
    EXPECT_EQ(workspace.user().name, "tester@example.com");
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

/// Every file below a directory, by its name.
std::string contents(const std::filesystem::path& directory) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return all;
}

TEST_F(CredentialsTest, NoSecretIsInAnyFileOfTheDatabase) {
  as_principal();
  ClusterConfig secretive = config();
  secretive.values()["token"] = fake().token();
  const Workspace workspace;
  {
    SharedClusters shared(database());
    ClusterLease lease = shared.acquire(secretive, workspace.lifecycle());
    lease.note_use("with " + fake().about("client_secret"));
    fault({{"path", "/create"},
           {"status", 400},
           {"times", -1},
           {"body", "INVALID: " + fake().about("client_secret")}});
    ClusterConfig other = config();
    other.values()["cluster_name"] = "other";
    EXPECT_THROW(shared.acquire(other, workspace.lifecycle()), InvalidClusterConfig);
  }
  const std::string all = contents(std::filesystem::path(database().database).parent_path());
  EXPECT_THAT(all, HasSubstr("[redacted]"));
  EXPECT_EQ(all.find(fake().about("client_secret")), std::string::npos);
  EXPECT_EQ(all.find(fake().token()), std::string::npos);
  const boost::json::value issued_tokens = boost::json::parse([] {
    std::ifstream file(std::filesystem::path(fake().about("ca")).parent_path() / "tokens.json");
    return std::string(std::istreambuf_iterator<char>(file), {});
  }());
  for (const auto& [token, end] : issued_tokens.as_object()) {
    EXPECT_EQ(all.find(std::string(token)), std::string::npos);
  }
}

}  // namespace
}  // namespace dbcache::workspace
