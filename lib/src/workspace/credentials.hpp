#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <dbcache/databricks.hpp>

#include "workspace/http.hpp"

// Credentials of a workspace, as Databricks' unified authentication has them.
namespace dbcache::workspace {

/// Proves to a workspace who asks. Thread-safe, and a forked child may use it.
class Credentials {
 public:
  /// Finds the credentials for the host of the options, and the host itself if they name none,
  /// without any request. Throws NotAuthenticated with the remedy.
  static std::shared_ptr<Credentials> find(const databricks::WorkspaceOptions& options);

  virtual ~Credentials() = default;
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  /// The workspace that they are for, normalised.
  [[nodiscard]] const std::string& host() const noexcept { return host_; }
  /// The id of the workspace where its host serves several (`?o=` of a pasted address), else empty.
  [[nodiscard]] const std::string& workspace_id() const noexcept { return workspace_id_; }
  /// `pat`, `oauth-m2m`, `github-oidc`, `env-oidc` or `file-oidc`.
  [[nodiscard]] std::string_view kind() const noexcept { return kind_; }
  [[nodiscard]] const std::string& source() const noexcept { return source_; }

  /// The value of the Authorization header. May ask the workspace for a token, or for a new one
  /// before the old one ends. Throws NotAuthenticated, WorkspaceUnavailable, and by the bounds.
  virtual std::string authorization(Http& http, const Bounds& bounds) = 0;

  /// After a 401 to `refused`, a value that `authorization` returned: returns whether another call
  /// may return a better one.
  virtual bool renew(const std::string& refused) = 0;

 protected:
  struct About {
    std::string host;
    std::string workspace_id{};
    std::string_view kind;
    std::string source{};
  };
  explicit Credentials(About about)
      : host_(std::move(about.host)),
        workspace_id_(std::move(about.workspace_id)),
        kind_(about.kind),
        source_(std::move(about.source)) {}

 private:
  std::string host_;
  std::string workspace_id_;
  std::string_view kind_;
  std::string source_;
};

}  // namespace dbcache::workspace
