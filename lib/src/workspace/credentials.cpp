#include "workspace/credentials.hpp"

#include "input/redact.hpp"
#include "system/environment.hpp"
#include "workspace/auth_choice.hpp"
#include "workspace/oauth.hpp"

namespace dbcache::workspace {
namespace {

/// A personal access token.
class TokenCredentials final : public Credentials {
 public:
  TokenCredentials(About about, std::string token)
      : Credentials(std::move(about)), token_(std::move(token)) {}

  std::string authorization(Http&, const Bounds&) override {
    input::keep_secret(token_);
    return "Bearer " + token_;
  }
  bool renew(const std::string&) override { return false; }

 private:
  const std::string token_;
};

}  // namespace

std::shared_ptr<Credentials> Credentials::find(const databricks::WorkspaceOptions& options) {
  AuthChoice choice = choose_auth(options, auth_environment(),
                                  system::environment_variable("DATABRICKS_CONFIG_PROFILE"),
                                  [&] { return load_databrickscfg(options.config_file); });
  About about{choice.host, choice.workspace_id, choice.kind, choice.source};
  for (const std::string& secret : {choice.values.token, choice.values.client_secret,
                                    choice.values.oidc_token, choice.values.github_token}) {
    input::keep_secret(secret);
  }
  if (choice.kind == "pat") {
    return std::make_shared<TokenCredentials>(std::move(about), choice.values.token);
  }
  return std::make_shared<OAuthCredentials>(std::move(about), std::move(choice.values));
}

}  // namespace dbcache::workspace
