#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <sys/wait.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>

#include "support/scoped_variable.hpp"
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

TEST_F(CredentialsTest, OnlyTheRightCertificateIsAccepted) {
  for (const char* const which : {"wrong-name", "expired", "self-signed"}) {
    tell("/certificate", object{{"which", which}});
    try {
      static_cast<void>(Workspace(options()).user());
      ADD_FAILURE() << which;
    } catch (const WorkspaceUnavailable& error) {
      EXPECT_FALSE(error.may_succeed_again()) << which;
      EXPECT_THAT(error.what(), HasSubstr("SSL_CERT_FILE")) << which;
    }
  }
  tell("/certificate", object{{"which", "good"}});
  const ScopedVariable system("SSL_CERT_FILE", std::nullopt);
  const ScopedVariable folder("SSL_CERT_DIR", std::nullopt);
  EXPECT_THAT(failure<WorkspaceUnavailable>(options()), HasSubstr("certificate"));
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
  EXPECT_EQ(Workspace(options()).user().name, "tester@example.com");
  EXPECT_EQ(passes(), 1);
  variable("no_proxy", "127.0.0.1");
  EXPECT_EQ(Workspace(options()).user().name, "tester@example.com");
  EXPECT_EQ(passes(), 1);
}

TEST_F(CredentialsTest, AForkedChildAsksOnConnectionsOfItsOwn) {
  const Workspace workspace(options());
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
